"""Measures the memory that engines share: of the GPUs, or of the host if there is no GPU."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from types import ModuleType

import pynvml

PATIENCE = 30.0  # seconds; memory that is not freed after that counts as lost
POLL = 0.1  # seconds
STILL = 1.0  # seconds without a rise after which no more memory is expected


class NvmlGauge:
    """The memory of a GPU, over all processes. Of several GPUs, the one with the least counts.

    Implements `MemoryGauge`.
    """

    device = "cuda"
    engines_only = True

    def __init__(
        self,
        handles: Sequence[object],
        *,
        patience: float = PATIENCE,
        still: float = STILL,
        nvml: ModuleType = pynvml,
    ) -> None:
        """`handles` are NVML's, from `find_gpus`; `patience` and `still` are in seconds."""
        self._handles, self._nvml = handles, nvml
        self._patience, self._still = patience, still

    @property
    def each(self) -> tuple[NvmlGauge, ...]:
        """A gauge for each GPU alone."""
        return tuple(
            NvmlGauge((one,), patience=self._patience, still=self._still, nvml=self._nvml)
            for one in self._handles
        )

    def total(self) -> int:
        return min(int(self._nvml.nvmlDeviceGetMemoryInfo(one).total) for one in self._handles)

    def free(self) -> int:
        return min(int(self._nvml.nvmlDeviceGetMemoryInfo(one).free) for one in self._handles)

    def name(self) -> str:
        """The names of the GPUs, with commas; empty if unknown."""
        try:
            names = [str(self._nvml.nvmlDeviceGetName(handle)) for handle in self._handles]
        except pynvml.NVMLError:
            return ""
        return ", ".join(names)

    def driver(self) -> str:
        """The version of the driver; empty if unknown."""
        try:
            return str(self._nvml.nvmlSystemGetDriverVersion())
        except pynvml.NVMLError:
            return ""

    def kind(self) -> str:
        """The GPU models, capability and driver that kernels depend on; empty if unknown."""
        try:
            names = [str(self._nvml.nvmlDeviceGetName(handle)) for handle in self._handles]
            driver = str(self._nvml.nvmlSystemGetDriverVersion())
        except pynvml.NVMLError:
            return ""
        kinds = ", ".join(dict.fromkeys(names))
        return f"{kinds}, {self.capability()}, driver {driver}"

    def capability(self) -> int | None:
        """The lowest CUDA compute capability, 89 for 8.9; None if the driver does not say."""
        try:
            found = [self._nvml.nvmlDeviceGetCudaComputeCapability(h) for h in self._handles]
        except pynvml.NVMLError:
            return None
        return int(min(major * 10 + minor for major, minor in found))

    async def recovered(self, target: int) -> int:
        """Wait: the driver frees a process's memory some time after its exit.

        It counts its pauses, and not the clock: while the machine stands still, nothing is
        freed.
        """
        left = self._patience
        while (free := self.free()) < target and left > 0:
            await asyncio.sleep(POLL)
            left -= POLL
        return free

    async def settled(self, target: int) -> int:
        """Wait until no more is freed: nobody knows how much a sleeping engine keeps."""
        left, still = self._patience, self._still  # of its pauses, as above
        highest = free = self.free()
        while free < target and min(left, still) > 0:
            await asyncio.sleep(POLL)
            left, still = left - POLL, still - POLL
            free = self.free()
            if free > highest:
                highest, still = free, self._still
        return free


class HostGauge:
    """The host's memory, or the container's limit if lower. Implements `MemoryGauge`."""

    device = "cpu"
    engines_only = False

    def __init__(
        self, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._proc = proc
        self._cgroup = cgroup

    @property
    def each(self) -> tuple[HostGauge, ...]:
        return (self,)

    def total(self) -> int:
        total = _meminfo(self._proc)["MemTotal"]
        limit = self._limit()
        return total if limit is None else min(total, limit)

    def free(self) -> int:
        available = _meminfo(self._proc)["MemAvailable"]
        limit = self._limit()
        return available if limit is None else max(0, min(available, limit - self._used()))

    async def recovered(self, target: int) -> int:
        """Return at once: the kernel frees a process's memory before its exit is visible.

        If less than `target` is free, other programs on the host use the rest. It does not
        count as lost, so this returns at least `target`.
        """
        return max(target, self.free())

    async def settled(self, target: int) -> int:  # noqa: ARG002 - the interface's
        """Return at once, for the same reason."""
        return self.free()

    def capability(self) -> None:
        """A CPU has none."""

    def name(self) -> str:
        return "CPU"

    def driver(self) -> str:
        """Empty: a CPU needs none."""
        return ""

    def kind(self) -> str:
        """Empty: no kernels are compiled for a CPU."""
        return ""

    def _limit(self) -> int | None:
        for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
            text = _read(self._cgroup / name)
            if text is not None and text != "max":
                return int(text)
        return None

    def _used(self) -> int:
        """Bytes in use, without the page cache that the kernel can reclaim."""
        for used, stat, cache in (
            ("memory.current", "memory.stat", "inactive_file"),
            ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
        ):
            text = _read(self._cgroup / used)
            if text is not None:
                return int(text) - _numbers(_read(self._cgroup / stat) or "").get(cache, 0)
        return 0


Gauge = NvmlGauge | HostGauge

_MUCH_LESS = 0.8  # of the free memory of the GPU with the most


def described(memory: Gauge, budget: int) -> Iterator[tuple[int, str]]:
    """Messages for the operator, each with its log level. `budget`: bytes per device."""
    count, size = len(memory.each), f"{budget / 1024**3:.1f} GiB of memory"
    where = f"on each of {count} GPUs" if count > 1 else f"on {memory.device}"
    yield logging.INFO, f"engines run {where} with {size}"
    free = [one.free() for one in memory.each]
    if min(free) < _MUCH_LESS * max(free):
        told = ", ".join(f"{one / 1024**3:.1f}" for one in free)
        text = (
            f"the GPUs have {told} GiB free, and each counts as the one with the least: leave "
            "it out of CUDA_VISIBLE_DEVICES, or set GPU_MEMORY_BUDGET"
        )
        yield logging.WARNING, text


def gauge(environ: Mapping[str, str]) -> Gauge:
    """A gauge for all GPUs that engines may use, or for the host if there is none."""
    handles = find_gpus(environ)
    return NvmlGauge(handles) if handles else HostGauge()


def find_gpus(
    environ: Mapping[str, str], most: int | None = None, nvml: ModuleType = pynvml
) -> Sequence[object]:
    """NVML's handles of the GPUs in `CUDA_VISIBLE_DEVICES`, in its order; empty if there is no
    GPU. NVML itself ignores that variable. `most` limits the number of handles; None: no limit.
    Like CUDA, this ignores a name of no GPU and all names after it.

    Raises `pynvml.NVMLError` if the driver is installed but broken: a fallback to the CPU
    would hide that.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    named = None if visible is None else [name.strip() for name in visible.split(",")]
    if named is not None and named[0] in ("", "-1"):
        return ()
    try:
        nvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return ()
    count = int(nvml.nvmlDeviceGetCount())
    if count == 0:
        return ()
    names = map(str, range(count)) if named is None else iter(named)
    found = takewhile(
        lambda handle: handle is not None, (_handle(name, count, nvml) for name in names)
    )
    return tuple(islice(found, most))


def _handle(name: str, count: int, nvml: ModuleType) -> object | None:
    """The GPU with this index, or with an id that begins like this; None if there is none."""
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name)) if int(name) < count else None
    if name.startswith("GPU-"):
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        fits = [one for one in handles if nvml.nvmlDeviceGetUUID(one).startswith(name)]
        return fits[0] if len(fits) == 1 else None
    try:
        part: object = nvml.nvmlDeviceGetHandleByUUID(name)
    except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
        return None
    return part  # of a GPU


def _meminfo(proc: Path) -> dict[str, int]:
    """/proc/meminfo, in bytes. The file says kB but means KiB."""
    lines = (proc / "meminfo").read_text().replace(":", "").replace(" kB", "")
    return {name: kib * 1024 for name, kib in _numbers(lines).items()}


def _numbers(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in (line.split() for line in text.splitlines())}


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
