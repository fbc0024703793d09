"""The launcher, with a real process instead of SGLang."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
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
WITHIN = 20.0  # seconds; far more than anything here takes


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
        files = [
            Path(f"/proc/{pid}/{file}")
            for pid in self.processes()
            for file in ("cmdline", "environ")
        ]
        return b"".join(file.read_bytes() for file in files)

    def port(self, flag: str = "--port") -> int:
        """A port of the running engine."""
        lines = [
            Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in self.processes()
        ]
        [port] = {line[line.index(flag) + 1] for line in lines if flag in line}
        return int(port)

    def _has(self, entry: Path) -> bool:
        try:
            return self.word.encode() in (entry / "environ").read_bytes()
        except OSError:
            return False


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
