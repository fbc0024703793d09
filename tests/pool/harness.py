"""A pool that is built on fakes, and its callers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from router.errors import RouterError
from router.models import EngineSpec
from router.pool.lease import Lease
from router.pool.pool import EnginePool
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from tests.pool.fakes import (
    GIB,
    FakeClock,
    FakeDownloader,
    FakeGauge,
    FakeLauncher,
    settle,
    spec,
    token_of,
)


class FaultyScheduler(Scheduler):
    """A scheduler that works until a test gives it a defect."""

    raises_at: type[events.Event] | None = None
    adds: tuple[actions.Action, ...] = ()  # added to its decisions

    def handle(self, event: events.Event, now: float) -> list[actions.Action]:
        if self.raises_at is not None and isinstance(event, self.raises_at):
            raise ZeroDivisionError("a defect")
        return [*super().handle(event, now), *self.adds]


class PoolHarness:
    """A pool that is built on fakes, and its callers."""

    def __init__(self, *, exits_within: float = 0.0, **limits: float) -> None:
        self.clock, self.gauge = FakeClock(), FakeGauge()
        self.downloader, self.launcher = FakeDownloader(), FakeLauncher(self.gauge)
        settings = {"budget": 100 * GIB, "max_loaded": 2, "patience": 0.0} | limits
        self.scheduler = FaultyScheduler(Limits(**settings))  # type: ignore[arg-type]
        self.pool = EnginePool(
            self.scheduler,
            downloader=self.downloader,
            launcher=self.launcher,
            gauges=(self.gauge,),
            clock=self.clock,
            validate=True,
            exits_within=exits_within,
        )
        self.callers: list[Caller] = []

    def instant(self) -> PoolHarness:
        self.downloader.instant = self.launcher.instant = True
        return self

    def call(
        self,
        what: EngineSpec,
        token: str = "",
        patience: float = 60.0,
        caller: str | None = None,
    ) -> Caller:
        made = Caller(self, what, token, patience, caller)
        self.callers.append(made)
        return made

    def state(self, name: str = "a") -> State:
        slot = self.scheduler.slots.get(spec(name).key)
        return slot.state if slot else State.COLD

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pool.tick()
        await settle()

    async def close(self) -> None:
        for caller in self.callers:
            await caller.leave()
        await self.pool.shut_down(0.0)
        assert not self.launcher.alive, "an engine outlived the pool"
        assert not self.pool._leases
        self.scheduler.validate()


class Caller:
    """One request. It waits for a lease, and holds it until the test ends it."""

    def __init__(
        self,
        harness: PoolHarness,
        what: EngineSpec,
        token: str,
        patience: float,
        caller: str | None,
    ) -> None:
        self.lease: Lease | None = None
        self.error: RouterError | None = None
        self._harness, self._spec, self._patience = harness, what, patience
        self._token = token_of(token) if token else None
        self._caller = caller
        self._end = asyncio.Event()
        self._answered = False
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        harness = self._harness
        deadline = harness.clock() + self._patience
        try:
            with harness.pool.lease(
                self._spec, self._token, deadline=deadline, caller=self._caller
            ) as lease:
                await lease.granted()
                self.lease = lease
                await self._end.wait()
                lease.answered = self._answered
        except RouterError as error:
            self.error = error

    @property
    def waiting(self) -> bool:
        return self.lease is None and self.error is None and not self.task.done()

    async def end(self) -> None:
        self._answered = True
        self._end.set()
        await settle()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        await settle()


def pool_harness(stack: AsyncExitStack, **limits: float) -> PoolHarness:
    harness = PoolHarness(**limits)
    stack.push_async_callback(harness.close)
    return harness


async def hold(pool: EnginePool, deadline: float, age: int) -> None:
    with pool.lease(spec("a"), None, deadline=deadline, age=age) as lease:
        await lease.granted()
        await asyncio.Event().wait()
