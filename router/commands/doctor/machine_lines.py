"""`doctor`'s lines about this machine."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pynvml

from engines.interpreter import Finding, InterpreterCheck
from engines.memory import HostGauge, find_gpus
from router.commands.doctor.line import ExamLine, ok, problem, warning
from router.commands.output import size_text
from router.config.errors import SettingsError
from router.config.platform import Platform
from router.config.settings import Settings
from router.downloads.cache_check import cache_problem, is_full
from router.downloads.space import RESERVE, free_space
from router.http.open_files import MOST_CONNECTIONS, NEEDED

_TOPIC_SHM = "/dev/shm"  # noqa: S108 - looked at, not written
_GPUS = 64  # the most to examine
_DRIVER = 580  # the oldest driver for CUDA 13, which the image has
_SHARED = 1 << 30  # bytes of /dev/shm for an engine on several GPUs
_HOST_MEMORY = 8 << 30  # bytes; an engine's processes take 2 GB, and so does a standby


def gpu_lines(environ: Mapping[str, str], nvml: ModuleType = pynvml) -> Iterator[ExamLine]:
    try:
        handles = find_gpus(environ, _GPUS, nvml)
        if not handles:
            yield warning(
                "GPU",
                "none that engines may use: they run on the CPU, slowly",
                "check the driver, the container's --gpus, and CUDA_VISIBLE_DEVICES",
            )
            return
        yield _driver(str(nvml.nvmlSystemGetDriverVersion()))
        for number, handle in enumerate(handles):
            yield from _gpu(number, handle, nvml)
    except pynvml.NVMLError as error:
        yield problem("GPU", f"the driver is broken: {error}", "restart or replace the machine")


def _driver(version: str) -> ExamLine:
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < _DRIVER:
        return warning(
            "driver",
            version,
            f"the image has CUDA 13, which needs driver {_DRIVER} or newer",
        )
    return ok("driver", version)


def _gpu(number: int, handle: object, nvml: Any) -> Iterator[ExamLine]:  # noqa: ANN401 - a module
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    total, free = int(memory.total), int(memory.free)
    text = (
        f"{nvml.nvmlDeviceGetName(handle)}, compute capability {major}.{minor}, "
        f"{size_text(free)} of {size_text(total)} free"
    )
    topic = f"GPU {number}"
    if free < 0.9 * total:
        yield warning(topic, text, "other programs hold memory: engines get what is free")
    else:
        yield ok(topic, text)


def engine_lines(settings: Settings, environ: Mapping[str, str]) -> Iterator[ExamLine]:
    topic = "SGLang"
    try:
        found = InterpreterCheck.begin(settings.engine_python, environ).finish()
    except SettingsError as error:
        yield problem(topic, str(error), "set ENGINE_PYTHON to a Python that has SGLang")
        return
    yield from _engine(found)


def _engine(found: Finding) -> Iterator[ExamLine]:
    topic = "SGLang"
    if found.is_warning:
        yield warning(topic, found.text, "use the tested version, or check your models here")
    else:
        yield ok(topic, found.text)
    if not found.version:
        return
    yield ok(
        topic, f"starts ahead of room: {_yes(found.has_gate)}; sleep: {_yes(found.has_saver)}"
    )
    if found.lacks:
        names = ", ".join(found.lacks)
        yield warning(topic, f"it lacks {names}", "install it there, for models that need it")


def _yes(can: bool) -> str:  # noqa: FBT001 - what it is called for
    return "yes" if can else "no"


def disk_lines(settings: Settings) -> Iterator[ExamLine]:
    cache = settings.hf_hub_cache
    refused = cache_problem(cache)
    if refused is not None and not is_full(refused):
        yield problem(
            "cache",
            f"{cache} can't be written: {refused.strerror or refused}",
            "set HF_HUB_CACHE or HF_HOME to a directory of this user",
        )
        return
    free = free_space(cache)
    text = f"{cache}: {size_text(free)} of {size_text(_whole(cache))} free"
    if refused is not None or free < RESERVE:
        yield warning("cache", text, "remove models: `model-router cache rm`")
    else:
        yield ok("cache", text)


def volume_line(settings: Settings, platform: Platform) -> ExamLine:
    volume = settings.base_path
    if volume.is_dir():
        can = "can be written" if os.access(volume, os.W_OK) else "can only be read"
        return ok("volume", f"{volume} is there, and {can}")
    if platform is Platform.PLAIN:
        return ok("volume", f"none at {volume}")
    return warning(
        "volume",
        f"none at {volume}: each new worker downloads its models",
        "attach a network volume, or put the models into the image",
    )


def _whole(cache: Path) -> int:
    return shutil.disk_usage(cache).total


def open_files_line(soft: int, hard: int) -> ExamLine:
    if hard < NEEDED and hard != resource.RLIM_INFINITY:
        return warning(
            "open files",
            f"at most {hard:,}: {min(MOST_CONNECTIONS, hard // 2):,} connections at once",
            f"allow {NEEDED:,} (`ulimit -Hn`, Docker's --ulimit nofile)",
        )
    return ok("open files", f"{max(soft, NEEDED):,} at once")


def shared_memory_line(size: int | None, gpus: int) -> ExamLine:
    """`size`: of /dev/shm in bytes; None if missing. `gpus`: number for the largest engine."""
    text = "there is none" if size is None else size_text(size)
    if gpus > 1 and (size or 0) < _SHARED:
        return warning(
            _TOPIC_SHM,
            f"{text}; engines of {gpus} GPUs exchange data there",
            "give the container more (Docker's --shm-size 16g)",
        )
    return ok(_TOPIC_SHM, text)


def host_memory_line(host: HostGauge) -> ExamLine:
    total, free = host.total(), host.free()
    text = f"{size_text(free)} of {size_text(total)} free to this container"
    if total < _HOST_MEMORY:
        return warning("memory", text, "an engine's processes take 2 GB: start with one model")
    return ok("memory", text)


def limits() -> tuple[int, int]:
    """The soft and the hard limit of open files of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def shared_memory(folder: Path = Path(_TOPIC_SHM)) -> int | None:
    return shutil.disk_usage(folder).total if folder.is_dir() else None
