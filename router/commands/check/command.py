"""`check`: may this token use a model, what would be downloaded, and does it fit?

It asks the Hub and reads the small files with the worker's own code. It downloads no weights,
starts nothing, and keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pynvml

from engines.command import Device
from engines.interpreter import VERIFIED, Finding, InterpreterCheck
from engines.memory import gauge
from router import logs
from router.access.authorize import Admission
from router.app.configuration import Configuration, history_file, machine
from router.app.hubs import any_hub
from router.clock import WorkerClock
from router.commands.check.checker import Checker, Target
from router.commands.check.report import Report
from router.commands.check.subjects import Subject, subjects
from router.commands.check.verdict import ModelVerdict
from router.commands.output import Output
from router.commands.progress import waiting
from router.config.errors import SettingsError, told
from router.config.parsers import as_size
from router.downloads.disk import Disk
from router.downloads.fitness import SnapshotFitness
from router.downloads.inspection import SnapshotInspector
from router.downloads.terms import DownloadTerms
from router.errors import RouterError
from router.hub.cache import CachedHub
from router.pool.history_file import HistoryKeeper
from router.repository.conditions import Machine
from router.secrets import Token, token_text

_NO_GPU = "no GPU here: judged for an engine on the CPU; --gpu-memory SIZE asks about a GPU"
_AT_ONCE = 4  # models checked in parallel; each has a process that reads its files


@dataclass(frozen=True, slots=True)
class _Place:
    """The machine where the models would run. `notes` say what is unknown."""

    memory: int  # bytes of one device
    free: int
    device: Device
    capability: int | None
    name: str  # empty: another machine's GPU
    devices: int = 1
    notes: tuple[str, ...] = ()


def check_command(chosen: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Return the exit status. 0: all models can be served; 1: some can't; 2: wrong use."""
    try:
        token = _token(chosen.token_file)
        about = list(subjects(chosen.models, environ))
        first = about[0].configuration
        known = {secret for one in about for secret in one.configuration.secrets}
        known |= {token} if token else set()
        logs.configure("WARNING", first.settings.log_format, known, sys.stderr)
        place = _place(chosen.gpu_memory, about, environ)
    except SettingsError as error:
        print(told("Nothing can be checked", error), file=sys.stderr)  # noqa: T201
        return 2
    except (RouterError, OSError, pynvml.NVMLError) as error:
        print(f"Nothing can be checked: {error}", file=sys.stderr)  # noqa: T201
        return 2
    found = _engines(first)
    about = [replace(one, configuration=one.configuration.with_engines(found)) for one in about]
    with waiting("asking the Hub and reading configurations"):
        verdicts = asyncio.run(_check_all(about, place, token))
    notes = (*place.notes, *(() if found.version else (found.text,)))
    budget = first.settings.gpu_memory_budget or place.free
    Report(verdicts, budget, place.device, found.version, notes).show(
        Output(), as_json=chosen.json
    )
    return 0 if all(one.refusal is None for one in verdicts) else 1


def _token(file: Path | None) -> Token | None:
    """Read the token. Raises `InvalidHfToken`, `OSError`."""
    return None if file is None else Token(token_text(file))


def _place(memory: str | None, about: Sequence[Subject], environ: Mapping[str, str]) -> _Place:
    if memory is not None:
        try:
            size = as_size(memory)
        except ValueError as error:
            raise SettingsError("--gpu-memory", memory, str(error)) from None
        gpus = max(one.configuration.gpus for one in about)
        return _Place(size, size, Device.CUDA, None, "", gpus)
    found = gauge(environ)
    device = Device(found.device)
    notes = () if device is Device.CUDA else (_NO_GPU,)
    return _Place(
        found.total(),
        found.free(),
        device,
        found.capability(),
        found.name(),
        len(found.each),
        notes,
    )


def _engines(configuration: Configuration) -> Finding:
    """The SGLang that would run the models; without one, the tested version."""
    settings = configuration.settings
    try:
        return InterpreterCheck.begin(settings.engine_python, configuration.environ).finish()
    except SettingsError:
        text = f"no SGLang here (ENGINE_PYTHON): judged for SGLang {VERIFIED}"
        return Finding(text, is_warning=False)


async def _check_all(
    about: Sequence[Subject], place: _Place, token: Token | None
) -> list[ModelVerdict]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def check(checker: Checker, name: str) -> ModelVerdict:
        async with places:
            return await checker.check(name, *_asked_with(checker.configuration, name, token))

    async with AsyncExitStack() as stack:
        checks = []
        for subject in about:
            checker = await stack.enter_async_context(_checker(subject.configuration, place))
            checks += [check(checker, name) for name in subject.names]
        return await asyncio.gather(*checks)


def _asked_with(
    configuration: Configuration, name: str, token: Token | None
) -> tuple[Token | None, str]:
    """The token to use as the caller's, and what to report as its source."""
    if token is not None:
        return token, "--token-file"
    operator = configuration.catalog.lookup(name)
    if operator is not None and operator.ref is None:
        return None, "nothing: a directory"
    if operator is not None and operator.token_env is not None:
        return None, operator.token_env
    worker = configuration.settings.hf_token
    if worker is None:
        return None, "no token"
    # For a model that is not the operator's, check what HF_TOKEN itself may use.
    return (worker if operator is None else None), "HF_TOKEN"


@asynccontextmanager
async def _checker(configuration: Configuration, place: _Place) -> AsyncIterator[Checker]:
    settings, clock = configuration.settings, WorkerClock()
    disk = Disk(
        settings.hf_hub_cache, budget=settings.disk_budget, operators=(), private_ttl=None
    )
    direct = any_hub(configuration, disk.public)
    hub = CachedHub(direct, clock)
    admission = Admission(
        hub,
        catalog=configuration.catalog,
        credentials=configuration.credentials,
        allowed=settings.allowed_models,
        running=lambda _: set(),
        clock=clock,
    )
    keeper = HistoryKeeper(history_file(configuration, place.name))
    keeper.load()
    try:
        yield Checker(
            configuration,
            admission,
            _inspector(configuration, place),
            disk.space,
            keeper.history,
            Target(place.device, settings.gpu_memory_budget or place.free),
        )
    finally:
        await admission.close()
        await hub.close()
        await direct.close()


def _inspector(configuration: Configuration, place: _Place) -> SnapshotInspector:
    settings = configuration.settings
    return SnapshotInspector(
        DownloadTerms(
            settings.hf_hub_cache,
            settings.hub_caches,
            settings.max_model_bytes,
            settings.allow_unsafe_weights,
        ),
        SnapshotFitness(None, _machine(configuration, place)),
        configuration.environ,
        offline=settings.hf_hub_offline,
    )


def _machine(configuration: Configuration, place: _Place) -> Machine:
    return machine(
        configuration,
        memory=place.memory,
        cpu=place.device is Device.CPU,
        capability=place.capability,
        devices=place.devices,
        budget=configuration.settings.gpu_memory_budget or place.free,
    )
