"""The pool of engines: leases for requests, and the tasks behind them.

The scheduler decides in one synchronous pass per event. The executor's tasks perform its
actions and report back. There are no locks, because no decision spans an `await`.

The pool fails hard. A defect in a pass is logged, all waiting requests fail, later ones are
refused, and the worker is told to exit. Requests in flight may finish, and then every engine
stops.
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
    """Gives leases on engines.

    * `gauges`: one per device.
    * `record`: called with each event before it is handled.
    * `validate`: check all invariants after each event, which is slow.
    * `exits_within`: seconds to wait for a lost engine's process to exit, to log the reason.
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
        self._unused = asyncio.Event()  # the pool is broken and no request may continue

    @property
    def at_fault(self) -> asyncio.Event:
        """Set when this machine should take no more work: drain and exit."""
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
        """Return a lease of an engine that runs `spec`. The engine is started if necessary.

        Enter it with `with`, and call `await lease.granted()` inside the block. Leaving the
        block gives up the place in the queue or the engine, without waiting. The caller must
        already be entitled to the model.

        * `credential`: for a download.
        * `deadline`: when the request stops waiting, by the pool's clock.
        * `caller`: whose limits the request counts against; None: the operator's own request.
        * `age`: of an earlier lease, to keep its place in the queue.
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

        If it is dead, it is recorded as crashed when this returns. If the caller is canceled,
        the probe continues: otherwise a dead engine would get the next request.
        """
        grant = lease.grant

        async def probe() -> None:
            if not await grant.engine.probe():
                await self._executor.lost(grant.key, grant.generation)

        await asyncio.wait({self._executor.tasks.spawn(probe())})

    def has_cut_off(self, lease: Lease) -> bool:
        """Whether a lease's engine was stopped while in use, because this worker shuts down."""
        return lease.grant.generation in self._executor.cut_off

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        """Whether a model's files may be removed, because no engine runs, starts or is wanted
        with them. If so, the next request for the model downloads them again."""
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
        """Report each event to `watcher` until the block ends. `usual`: include the most common
        events, in which a ready engine takes or has answered a request."""
        return self._passes.watch(watcher, usual=usual)

    async def shut_down(self, grace: float) -> None:
        """Refuse waiting requests, give the others `grace` seconds, and stop every engine."""
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
        """End the grace period of a shutdown: cut off the requests that are still in flight."""
        if self._passes.broken:
            self._unused.set()
        self._feed(events.ShutDown(self._clock()))

    def thawed(self) -> None:
        """Check which engines still work, because the worker was frozen."""
        self._feed(events.Thawed())

    def learned(self, facts: Sequence[Fact]) -> None:
        """Note measurements of other workers."""
        self._feed(events.Learned(tuple(facts)))

    def tick(self) -> None:
        """Do what is due by now."""
        self._passes.tick()

    # --- performing the scheduler's decisions ---------------------------------------

    def _callers(self, key: EngineKey) -> Collection[str | None]:
        """The callers whose requests wait for this engine now."""
        slot = self._scheduler.slots.get(key)
        return tuple(slot.queue.callers) if slot else ()

    def _fail_hard(self, defect: BaseException) -> None:
        """Stop the pool after a defect, so that it does not look alive and serve nothing."""
        _log.critical("the pool is broken; this worker leaves", exc_info=defect)
        self._passes.break_off()
        for lease in self._leases.values():
            if lease.waiting:
                lease.deliver(_pool_is_broken())
        if not self._leases:
            self._unused.set()
        self._executor.at_fault.set()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Grant):  # first, because most actions are grants
            self._grant(action)
            return
        match action:
            case actions.Fail(waiter, error):
                # Copy the error for each request, because raising it adds a traceback.
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
