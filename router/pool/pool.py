"""The pool of engines: the one writer of their state.

The machine decides, in one synchronous pass for each event; the tasks here carry its
orders out and report back. There are no locks: nothing is decided across an `await`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from router.clock import Clock
from router.models import EngineKey, EngineSpec
from router.pool.executor import Executor
from router.pool.interfaces import Downloader, EngineLauncher, MemoryGauge
from router.pool.lease import Granted, Lease
from router.pool.progress import Estimate
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler
from router.secrets import Token

_log = logging.getLogger(__name__)

Record = Callable[[float, events.Event], None]


class EnginePool:
    def __init__(
        self,
        scheduler: Scheduler,
        *,
        downloader: Downloader,
        launcher: EngineLauncher,
        gauge: MemoryGauge,
        clock: Clock,
        record: Record | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._clock, self._record = clock, record
        self._executor = Executor(
            self._feed, downloader=downloader, launcher=launcher, gauge=gauge, clock=clock
        )
        self._numbers = itertools.count(1)
        self._leases: dict[int, Lease] = {}
        self._inbox: deque[events.Event] = deque()
        self._feeding = False
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # when it fires: uvloop's handles for "at once" do not know
        self._emptied = asyncio.Event()

    @property
    def at_fault(self) -> asyncio.Event:
        """Set when this machine should take no more work: drain, and leave."""
        return self._executor.at_fault

    @contextmanager
    def lease(
        self,
        spec: EngineSpec,
        credential: Token | None,
        *,
        deadline: float,
        caller: str | None = None,
        age: int | None = None,
    ) -> Iterator[Lease]:
        """Line up for an engine that runs `spec`, which is started if need be.

        `await lease.granted()` inside of the block; leaving it gives back whatever was
        had by then, without waiting. The caller must be entitled to the model already;
        `credential` pays for a download. `caller` is whose limits this counts against;
        None: the operator's own doing. `age` is an earlier lease's, to keep its place.
        """
        number = next(self._numbers)
        lease = Lease(number, number if age is None else age, credential)
        self._leases[number] = lease
        digest = credential.digest if credential else ""
        try:
            self._feed(events.Wanted(number, lease.age, spec, digest, deadline, caller))
            yield lease
        finally:
            self._feed(lease.end())
            del self._leases[number]

    async def suspect(self, lease: Lease) -> None:
        """Find out whether the engine behind a connection that broke is still there.

        By the time this returns, a dead one has been noted as crashed.
        """
        grant = lease.grant
        if not await grant.engine.probe():
            self._feed(events.Crashed(grant.key, grant.generation, "connection lost"))

    def running(self, repo_id: str) -> set[str]:
        """The commits of a repository that engines run at, or are starting at."""
        return {
            slot.key.commit
            for slot in self._scheduler.slots.values()
            if slot.key.repo_id == repo_id
            and slot.state in (State.STARTING, State.READY, State.DRAINING)
        }

    def unused_for(self) -> dict[EngineKey, float]:
        """For how many seconds nobody has held or wanted what it knows; 0 where one does."""
        now = self._clock()
        return {
            slot.key: 0.0 if slot.leases or slot.queue else now - slot.last_used
            for slot in self._scheduler.slots.values()
        }

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        """Whether a model's files may go: nothing is up, on its way or wanted with them, and
        whoever wants them from now on has them fetched again."""
        self._feed(events.ForgetSnapshot(repo_id, commit))
        return all(
            slot.state is State.COLD
            for key, slot in self._scheduler.slots.items()
            if (key.repo_id, key.commit) == (repo_id, commit)
        )

    def loaded(self) -> list[EngineSpec]:
        """What is up, the latest started last."""
        return [s.spec for s in self._scheduler.slots.values() if s.state is State.READY]

    def stage(self, key: EngineKey) -> tuple[State, Estimate]:
        """What those who wait for this engine are waiting for, and for how long still."""
        slot = self._scheduler.slots.get(key)
        state = slot.state if slot else State.COLD
        if slot and state is State.FETCHING:
            return state, self._executor.progress.fetching(slot.attempt, key)
        if slot and state is State.STARTING:
            return state, self._executor.progress.starting(slot.generation, key)
        return state, Estimate()

    async def shut_down(self, grace: float) -> None:
        """Refuse who waits, let streams end for `grace` seconds, stop every engine."""
        self._feed(events.ShutDown(self._clock() + grace))
        await self._emptied.wait()
        if self._timer:
            self._timer.cancel()
        await self._executor.finish()

    def hurry(self) -> None:
        """End a shutdown's grace: cut off what still streams."""
        self._feed(events.ShutDown(self._clock()))

    def thawed(self) -> None:
        """Nothing ran for a while: find out which engines still work."""
        self._feed(events.Thawed())

    def tick(self) -> None:
        """Look at the clock."""
        self._timer = None
        self._feed(events.Tick())

    # --- the pass ----------------------------------------------------------------

    def _feed(self, event: events.Event) -> None:
        self._inbox.append(event)
        if self._feeding:
            return  # reported while its orders are carried out: taken in right after
        self._feeding = True
        try:
            while self._inbox:
                taken, now = self._inbox.popleft(), self._clock()
                if self._record:
                    self._record(now, taken)
                for action in self._scheduler.handle(taken, now):
                    self._perform(action)
        finally:
            self._feeding = False
        if self._scheduler.shutting_down and self._scheduler.empty:
            self._emptied.set()
        self._arm()

    def _arm(self) -> None:
        """Set the timer for what is due after the last pass.

        The scheduler computes that from the time of the pass. From a later time it would
        miss what has become due since.
        """
        wake_at = self._scheduler.wake_at
        if wake_at == inf:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, wake_at - self._clock())
        if self._timer is not None:
            if self._due <= due:
                return  # an early tick does no harm, and sets the next timer
            self._timer.cancel()
        self._timer, self._due = loop.call_at(due, self.tick), due

    def _perform(self, action: actions.Action) -> None:  # noqa: C901  a flat dispatch
        match action:
            case actions.Grant() | actions.Fail():
                self._deliver(action)
            case actions.Measure():
                free = self._executor.free()
                if free is not None:
                    self._feed(events.Measured(free))
            case actions.Fetch():
                self._executor.fetch(action, self._leases[action.waiter].credential)
            case actions.CancelFetch():
                self._executor.cancel_fetch(action)
            case actions.Start():
                self._executor.start(action)
            case actions.Stop():
                self._executor.stop(action)
            case actions.Probe():
                self._executor.probe(action)
            case actions.Alarm(message, leave):
                _log.critical("%s", message)
                if leave:
                    self._executor.at_fault.set()

    def _deliver(self, action: actions.Grant | actions.Fail) -> None:
        lease = self._leases[action.waiter]
        if isinstance(action, actions.Fail):
            lease.deliver(action.error)
        else:
            engine = self._executor.engines[action.generation]
            lease.deliver(Granted(engine, action.key, action.generation))
