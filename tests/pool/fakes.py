"""Fakes of the pool's interfaces. They record effects, and wait for the test to say how things
went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.models import EngineKey, EngineSpec, MemoryPlan, ResolvedModel
from router.pool.interfaces import (
    Callers,
    EngineStartError,
    FetchProgress,
    Gate,
    SleepError,
    Snapshot,
    Unkillable,
    the_operator,
)
from router.scheduler.actions import Allotment
from router.secrets import Secret, Token

GIB = 1 << 30


def spec(name: str = "a", **settings: object) -> EngineSpec:
    return EngineSpec(ResolvedModel(f"org/{name}", "c" * 40), **settings)  # type: ignore[arg-type]


def token_of(name: str) -> Token:
    return Token(f"token-of-{name}")


def name_on(token: Token | None) -> str:
    return token.reveal().removeprefix("token-of-") if token else ""


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeGauge:
    """Memory that engines take at once, and return as soon as they are gone."""

    engines_only = True

    def __init__(self, total: int = 100 * GIB) -> None:
        self.size = total
        self.taken: dict[object, int] = {}
        self.outsiders = 0

    def total(self) -> int:
        return self.size

    def free(self) -> int:
        return self.size - sum(self.taken.values()) - self.outsiders

    async def recovered(self, target: int) -> int:
        await asyncio.sleep(0)
        return self.free()

    async def settled(self, target: int) -> int:
        await asyncio.sleep(0)
        return self.free()


class FakeDownloader:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []  # (repo, token)
        self.swept: list[str] = []
        self._pending: dict[str, asyncio.Future[Snapshot]] = {}
        self._tell: dict[str, Callable[[FetchProgress], None]] = {}
        self.instant = False

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
        callers: Callers = the_operator,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> Snapshot:
        self.calls.append((model.repo_id, name_on(credential)))
        if self.instant:
            return Snapshot(Path("/snapshots") / model.repo_id)
        progress(FetchProgress(1, 2))
        self._tell[model.repo_id] = progress
        pending: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._pending[model.repo_id] = pending
        try:
            return await pending
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # sweeping takes a moment
            self.swept.append(model.repo_id)
            raise

    def tell(self, name: str, done: int, total: int, described: Snapshot | None = None) -> None:
        self._tell[f"org/{name}"](FetchProgress(done, total, described=described))

    def finish(self, name: str = "a", plan: MemoryPlan | None = None) -> None:
        snapshot = Snapshot(Path("/snapshots") / name, plan)
        self._pending.pop(f"org/{name}").set_result(snapshot)

    def fail(self, name: str, error: Exception) -> None:
        self._pending.pop(f"org/{name}").set_exception(error)


@dataclass
class FakeEngine:
    launcher: FakeLauncher
    key: EngineKey
    number: int
    healthy: bool = True
    context_length: int | None = 4096
    phases: Mapping[str, float] = field(default_factory=dict)
    vocabulary: int | None = 32000
    scores_pairs: bool | None = None
    killable: bool = True
    stopped_at_once: bool | None = None
    defect: Exception | None = None  # raised by a probe
    silent: asyncio.Event | None = None  # a probe waits for this
    kept: int = 0  # bytes of the device that it holds while asleep
    sleep_fails: SleepError | None = None
    wake_fails: SleepError | None = None
    drowsy: asyncio.Event | None = None  # falling asleep and waking wait for this
    asleep: bool = False
    probed_asleep: bool = False
    _held: int = 0
    _exit: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://engine/{self.number}"

    @property
    def port_key(self) -> Secret:
        return Secret(f"key of {self.number}")

    @property
    def served_name(self) -> str:
        return self.key.repo_id

    async def exited(self) -> str:
        await self._exit.wait()
        return "killed by SIGKILL"

    def die(self) -> None:
        self.healthy = False
        self._exit.set()

    async def probe(self) -> bool:
        await asyncio.sleep(0)
        self.probed_asleep |= self.asleep
        if self.silent is not None:
            await self.silent.wait()
        if self.defect is not None:
            raise self.defect
        return self.healthy

    async def sleep(self) -> None:
        await self._change(self.sleep_fails, asleep=True)
        self._held, self.launcher.gauge.taken[self.number] = (
            self.launcher.gauge.taken[self.number],
            self.kept,
        )

    async def wake(self) -> None:
        await self._change(self.wake_fails, asleep=False)
        self.launcher.gauge.taken[self.number] = self._held

    async def _change(self, failure: SleepError | None, *, asleep: bool) -> None:
        assert self.asleep is not asleep, "the real one ends when it is told twice"
        await asyncio.sleep(0)
        if self.drowsy is not None:
            await self.drowsy.wait()
        if failure is not None:
            raise failure
        self.asleep = asleep

    async def stop(self, *, at_once: bool = False) -> None:
        await asyncio.sleep(0)
        self.stopped_at_once = at_once
        if not self.killable:
            raise Unkillable
        self.launcher.gauge.taken.pop(self.number, None)
        self.launcher.alive.discard(self.number)


class FakeLauncher:
    def __init__(self, gauge: FakeGauge) -> None:
        self.gauge = gauge
        self.starts: list[tuple[str, Allotment]] = []
        self.engines: dict[str, FakeEngine] = {}
        self.alive: set[int] = set()
        self.most_alive = 0
        self.cancelled: list[str] = []
        self.instant = False
        self.context = 0  # bytes that an engine takes before it reaches its gate
        self.waiting: set[str] = set()  # engines at their gates
        self._pending: dict[str, asyncio.Future[None]] = {}

    async def start(
        self, spec: EngineSpec, snapshot: Path, allotment: Allotment, gate: Gate | None = None
    ) -> FakeEngine:
        engine = FakeEngine(self, spec.key, len(self.starts) + 1)
        self.starts.append((spec.model.repo_id, allotment))
        self.alive.add(engine.number)
        self.most_alive = max(self.most_alive, len(self.alive))
        try:
            if gate is not None:
                allotment = await self._pass(gate, spec, engine)
            self.gauge.taken[engine.number] = allotment.claim
            if not self.instant:
                await self._told(spec)
        except BaseException as end:
            if isinstance(end, asyncio.CancelledError):
                await asyncio.sleep(0)  # killing takes a moment
                self.cancelled.append(spec.model.repo_id)
            await engine.stop()
            raise
        self.engines[spec.model.repo_id] = engine
        return engine

    async def _pass(self, gate: Gate, spec: EngineSpec, engine: FakeEngine) -> Allotment:
        self.gauge.taken[engine.number] = self.context
        if not self.instant:
            await self._told(spec)
        gate.standing()
        self.waiting.add(spec.model.repo_id)
        opened = asyncio.ensure_future(gate.opened())
        try:
            died = self._told(spec)
            either: set[asyncio.Future[Any]] = {opened, died}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                died.result()
            return await opened
        finally:
            opened.cancel()
            self.waiting.discard(spec.model.repo_id)

    def _told(self, spec: EngineSpec) -> asyncio.Future[None]:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[spec.model.repo_id] = told
        return told

    def at_gate(self, name: str = "a") -> None:
        """Let its process reach the gate."""
        self.ready(name)

    def ready(self, name: str = "a") -> None:
        self._pending.pop(f"org/{name}").set_result(None)

    def fail(
        self,
        name: str = "a",
        *,
        told: str = "",
        out_of_memory: bool = False,
        unsupported: bool = False,
    ) -> None:
        self._pending.pop(f"org/{name}").set_exception(
            EngineStartError(
                "exit status 1",
                told=told,
                out_of_memory=out_of_memory,
                unsupported=unsupported,
            )
        )

    def engine(self, name: str = "a") -> FakeEngine:
        return self.engines[f"org/{name}"]


async def settle() -> None:
    """Let every task run until all of them wait for something external."""
    for _ in range(30):
        await asyncio.sleep(0)
