"""The pool of engines: leases for requests, and the tasks behind them.

The scheduler decides, in one synchronous pass for each event; the executor's tasks perform its
actions and report back. There are no locks: nothing is decided across an `await`.

The pool fails hard. A defect in a pass is logged, all waiting requests fail, later ones are
refused, and the worker is told to leave. What is in flight may end; then every engine stops.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from copy import copy
from functools import partial

from router.clock import Clock
from router.errors import InternalError
from router.models import EngineKey, EngineSpec
from router.pool.executor import EXITS_WITHIN, Executor
from router.pool.interfaces import Downloader, EngineLauncher, MemoryGauge
from router.pool.lease import Granted, Lease
from router.pool.loading import AT_ONCE, LoadTimes, Waited
from router.pool.operation import OperatedEngines
from router.pool.passes import Passes, Record, Watcher
from router.pool.view import PoolView
from router.scheduler import actions, events
from router.scheduler.history import Fact
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler
from router.secrets import Token

_log = logging.getLogger(__name__)


class EnginePool:
    """`gauges`: one for each device. `record` is called with each event before it is handled.
    `validate`: check every invariant after each event, which takes time.
    `exits_within`: seconds for the process of a lost engine to exit, so that the log says how.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        downloader: Downloader,
        launcher: EngineLauncher,
        gauges: Sequence[MemoryGauge],
        clock: Clock,
        record: Record | None = None,
        validate: bool = False,
        exits_within: float = EXITS_WITHIN,
    ) -> None:
        self._scheduler, self._clock = scheduler, clock
        self._passes = Passes(
            scheduler,
            self._perform,
            self._fail_hard,
            clock=clock,
            record=record,
            validate=validate,
        )
        self._feed = self._passes.feed
        self._executor = Executor(
            self._feed,
            self._fail_hard,
            downloader=downloader,
            launcher=launcher,
            gauges=gauges,
            clock=clock,
            exits_within=exits_within,
        )
        self.view = PoolView(scheduler, self._executor, clock)
        self.operated = OperatedEngines(scheduler, self._feed)
        self._loads = LoadTimes()
        self._passes.keep_telling(self._loads.note)
        self._numbers = itertools.count(1)
        self._leases: dict[int, Lease] = {}
        self._unused = asyncio.Event()  # broken, and no request is in flight or may stay so

    @property
    def at_fault(self) -> asyncio.Event:
        """Set when this machine should take no more work: drain, and leave."""
        return self._executor.at_fault

    def lease(
        self,
        spec: EngineSpec,
        credential: Token | None,
        *,
        deadline: float,
        caller: str | None = None,
        age: int | None = None,
    ) -> Lease:
        """Wait for an engine that runs `spec`, which is started if necessary, and hold it.

        Enter it with `with`, and call `await lease.granted()` inside the block. Leaving the
        block gives up the place in the queue or the engine, without waiting. The caller must
        be entitled to the model already.

        `credential` is used for a download. `deadline`: when the request stops waiting, by
        the pool's clock. `caller`: this counts against its limits; None: the operator's
        own request. `age`: of an earlier lease, to keep its place in the queue.
        """
        number = next(self._numbers)
        place = number if age is None else age
        digest = credential.digest if credential is not None else ""
        spec = self.operated.kept_to_rules(spec)
        wanted = events.Wanted(number, place, spec, digest, deadline, caller)
        return Lease(wanted, credential, self._begin, self._finish)

    def _begin(self, lease: Lease) -> None:
        self._leases[lease.wanted.waiter] = lease
        if self._passes.broken:
            lease.deliver(_pool_is_broken())
        self._feed(lease.wanted)
        if lease.waiting:
            lease.waits_from(self._clock())

    def _finish(self, lease: Lease) -> None:
        self._feed(lease.end())
        del self._leases[lease.wanted.waiter]
        if self._passes.broken and not self._leases:
            self._unused.set()

    async def suspect(self, lease: Lease) -> None:
        """Probe an engine after a lease's connection to it broke.

        If it is dead, it has been recorded as crashed when this returns. A caller that is
        cancelled leaves the probe to end by itself: a dead engine would get the next request.
        """
        grant = lease.grant

        async def probe() -> None:
            if not await grant.engine.probe():
                await self._executor.lost(grant.key, grant.generation)

        await asyncio.wait({self._executor.tasks.spawn(probe())})

    def has_cut_off(self, lease: Lease) -> bool:
        """Whether a lease's engine was stopped under it, because this worker leaves."""
        return lease.grant.generation in self._executor.cut_off

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        """Whether a model's files may be removed: no engine runs, starts or is wanted with
        them. If so, the next request for the model downloads them again."""
        self._feed(events.ForgetSnapshot(repo_id, commit))
        return all(
            slot.state is State.COLD
            for key, slot in self._scheduler.slots.items()
            if (key.repo_id, key.commit) == (repo_id, commit)
        )

    def waited(self, key: EngineKey, lease: Lease) -> Waited:
        """What a lease of this engine has waited for until now."""
        if lease.asked_at is None:
            return AT_ONCE
        return self._loads.waited(key, lease.asked_at, self._clock())

    def watch(self, watcher: Watcher, *, usual: bool = True) -> AbstractContextManager[None]:
        """Tell `watcher` of each event from now on, until the block ends. `usual`: also that a
        ready engine takes a request, or has answered it, as most events are."""
        return self._passes.watch(watcher, usual=usual)

    async def shut_down(self, grace: float) -> None:
        """Refuse waiting requests, let those in flight end for `grace` seconds, and stop
        every engine."""
        deadline = self._clock() + grace
        self._feed(events.ShutDown(deadline))
        await self._passes.emptied()
        if self._passes.broken:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - self._clock())):
                    await self._unused.wait()
            await self._executor.abort()
        await self._executor.tasks.finish()

    def hurry(self) -> None:
        """End the grace of a shutdown: cut off the requests that are still in flight."""
        if self._passes.broken:
            self._unused.set()
        self._feed(events.ShutDown(self._clock()))

    def thawed(self) -> None:
        """The worker was frozen: find out which engines still work."""
        self._feed(events.Thawed())

    def learned(self, facts: Sequence[Fact]) -> None:
        """Other workers have measured something."""
        self._feed(events.Learned(tuple(facts)))

    def tick(self) -> None:
        """Do what is due by now."""
        self._passes.tick()

    # --- what the scheduler decides ------------------------------------------------

    def _callers(self, key: EngineKey) -> Collection[str | None]:
        """The callers whose requests wait for this engine now."""
        slot = self._scheduler.slots.get(key)
        return tuple(slot.queue.callers) if slot else ()

    def _fail_hard(self, defect: BaseException) -> None:
        """Leave no pool behind that looks alive and serves no request."""
        _log.critical("the pool is broken; this worker leaves", exc_info=defect)
        self._passes.break_off()
        for lease in self._leases.values():
            if lease.waiting:
                lease.deliver(_pool_is_broken())
        if not self._leases:
            self._unused.set()
        self._executor.at_fault.set()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Grant):  # before all others: most actions are such
            self._grant(action)
            return
        match action:
            case actions.Fail(waiter, error):
                # A copy for each request: an error that is raised gets a traceback.
                self._leases[waiter].deliver(copy(error))
            case actions.Measure():
                free = self._executor.free()
                if free is not None:
                    self._feed(events.Measured(free[0], free[1:]))
            case actions.Fetch(_, _, waiter):
                callers = partial(self._callers, action.spec.key)
                self._executor.fetch(action, self._leases[waiter].credential, callers)
            case actions.Tell(message):
                _log.error("%s", message)
            case actions.Alarm(message, leave):
                _log.critical("%s", message)
                if leave:
                    self._executor.at_fault.set()
            case _:
                self._executor.perform(action)

    def _grant(self, action: actions.Grant) -> None:
        waiter, key, generation = action
        engine, lease = self._executor.engines[generation], self._leases[waiter]
        if lease.asked_at is not None:
            lease.has_waited(self.waited(key, lease))
        lease.deliver(Granted(engine, key, generation))


def _pool_is_broken() -> InternalError:
    return InternalError(
        "The router has a defect, and this worker shuts down. Send the request again."
    )
