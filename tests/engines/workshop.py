"""The launcher, with a real process instead of SGLang."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

from engines.command import Device
from engines.launcher import SglangEngine, SglangLauncher
from router.models import EngineSpec, ResolvedModel
from router.pool.interfaces import Gate
from router.scheduler.actions import Allotment
from tests.fake_engine import FILE, PYTHON, behaviour

SPEC = EngineSpec(ResolvedModel("org/name", "0123456789abcdef0123456789abcdef01234567"))
ALLOTMENT = Allotment(claim=1 << 30, free=1 << 30, whole=True)
WITHIN = 90.0  # seconds; far more than anything here takes


class Workshop:
    """A launcher, a model for it, and a way to see its processes without it."""

    def __init__(self, directory: Path) -> None:
        self.snapshot = directory / "snapshot"
        self.snapshot.mkdir()
        self.word = secrets.token_hex(16)
        self.log = logging.getLogger("test.engines.sglang")

    def launcher(self, **changes: Any) -> SglangLauncher:
        options: dict[str, Any] = {
            "python": str(PYTHON),
            # An engine's environment is an allow-list, and this name is on it.
            "environ": {"PATH": "/usr/bin:/bin", "SGLANG_TEST": self.word},
            "hf_token": None,
            "start_timeout": WITHIN,
            "device": Device.CPU,
            "log": self.log,
        }
        return SglangLauncher(**options | changes)

    async def start(
        self,
        launcher: SglangLauncher | None = None,
        gate: Gate | None = None,
        spec: EngineSpec = SPEC,
        **asked: object,
    ) -> SglangEngine:
        (self.snapshot / FILE).write_bytes(behaviour(**asked))
        return await (launcher or self.launcher()).start(spec, self.snapshot, ALLOTMENT, gate)

    def processes(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._has(entry)]

    def shown(self) -> bytes:
        """The command lines and environments of all processes."""
        pids = self.processes()
        return b"".join(_content(pid, name) for pid in pids for name in ("cmdline", "environ"))

    def port(self, flag: str = "--port") -> int:
        """A port of the running engine."""
        return port_of(self.processes(), flag)

    def kill(self) -> None:
        """Kill its processes, whichever of them ends another."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _has(self, entry: Path) -> bool:
        return self.word.encode() in _content(int(entry.name), "environ")


def port_of(pids: list[int], flag: str) -> int:
    """The port that these processes have behind the flag."""
    lines = [_content(pid, "cmdline").decode().split("\0") for pid in pids]
    [port] = {line[line.index(flag) + 1] for line in lines if flag in line}
    return int(port)


def _content(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended: a starting engine has helpers that live for a moment
        return b""


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.01)


def cancelling(start: list[asyncio.Task[SglangEngine]], path: str, moment: str) -> Any:
    """Sessions that cancel the start the first time that `path` reaches `moment`."""

    async def hook(
        session: aiohttp.ClientSession, context: SimpleNamespace, parameters: Any
    ) -> None:
        if parameters.url.path == path:
            start[0].cancel()

    def sessions() -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        getattr(trace, moment).append(hook)
        return aiohttp.ClientSession(trace_configs=[trace])

    return sessions


def below(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))
