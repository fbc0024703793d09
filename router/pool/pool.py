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
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial

from router.clock import Clock
from router.errors import InternalError
from router.models import EngineKey, EngineSpec
from router.pool.executor import EXITS_WITHIN, Executor
from router.pool.interfaces import Downloader, Engine, EngineLauncher, MemoryGauge
from router.pool.lease import Granted, Lease
from router.pool.loading import AT_ONCE, LoadTimes, Waited
from router.pool.status import Known, PoolStatus
from router.pool.timer import Timer
from router.scheduler import actions, events
from router.scheduler.company import stays
from router.scheduler.forecast import NO_DOWNLOAD, Download, Forecast
from router.scheduler.history import Fact
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler
from router.secrets import Token

_log = logging.getLogger(__name__)

Record = Callable[[float, events.Event], None]
# Is told the time, an event, and what the scheduler has decided because of it. Must not raise.
Watcher = Callable[[float, events.Event, Sequence[actions.Action]], None]


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
        self._scheduler = scheduler
        self._clock, self._record, self._validate = clock, record, validate
        self._executor = Executor(
            self._feed,
            self._fail_hard,
            downloader=downloader,
            launcher=launcher,
            gauges=gauges,
            clock=clock,
            exits_within=exits_within,
        )
        self._loads = LoadTimes()
        self._numbers = itertools.count(1)
        self._leases: dict[int, Lease] = {}
        self._inbox: deque[events.Event] = deque()
        self._feeding = False
        self._watchers: list[Watcher] = []
        self._patient: list[Watcher] = []  # those that usual events do not concern
        self._timer = Timer(self.tick, clock)
        self._emptied = asyncio.Event()  # no engine is left, or the pool is broken
        self._broken = False
        self._unused = asyncio.Event()  # broken, and no request is in flight or may stay so
        self._ruled: Callable[[EngineSpec], EngineSpec] | None = None  # as `rule` was told last

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
        if self._ruled is not None:
            spec = self._kept_to_rules(spec, self._ruled)
        wanted = events.Wanted(number, place, spec, digest, deadline, caller)
        return Lease(wanted, credential, self._begin, self._finish)

    def _kept_to_rules(
        self, spec: EngineSpec, ruled: Callable[[EngineSpec], EngineSpec]
    ) -> EngineSpec:
        """With the rules in force: the request may have been authorized under former ones. An
        engine that is up has been told of them."""
        slot = self._scheduler.slots.get(spec.key)
        return spec if slot is not None and slot.state.claims else ruled(spec)

    def _begin(self, lease: Lease) -> None:
        self._leases[lease.wanted.waiter] = lease
        if self._broken:
            lease.deliver(_pool_is_broken())
        self._feed(lease.wanted)
        if lease.waiting:
            lease.waits_from(self._clock())

    def _finish(self, lease: Lease) -> None:
        self._feed(lease.end())
        del self._leases[lease.wanted.waiter]
        if self._broken and not self._leases:
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

        await asyncio.wait({self._executor.spawn(probe())})

    def has_cut_off(self, lease: Lease) -> bool:
        """Whether a lease's engine was stopped under it, because this worker leaves."""
        return lease.grant.generation in self._executor.cut_off

    def running(self, repo_id: str) -> set[str]:
        """The commits of a repository for which an engine runs or starts."""
        return {
            slot.key.commit
            for slot in self._scheduler.in_states(State.STARTING, State.READY, State.DRAINING)
            if slot.key.repo_id == repo_id
        }

    def unused_for(self) -> dict[EngineKey, float]:
        """For each known model, the seconds for which no request has held it or waited for
        it; 0 where one does now."""
        now = self._clock()
        return {
            slot.key: 0.0 if slot.leases or slot.queue else now - slot.last_used
            for slot in self._scheduler.slots.values()
        }

    def in_use(self) -> set[tuple[str, str]]:
        """The repositories and commits whose files an engine, a download or a request needs."""
        return {
            (key.repo_id, key.commit)
            for key, slot in self._scheduler.slots.items()
            if slot.queue or slot.state not in (State.COLD, State.FETCHED)
        }

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        """Whether a model's files may be removed: no engine runs, starts or is wanted with
        them. If so, the next request for the model downloads them again."""
        self._feed(events.ForgetSnapshot(repo_id, commit))
        return all(
            slot.state is State.COLD
            for key, slot in self._scheduler.slots.items()
            if (key.repo_id, key.commit) == (repo_id, commit)
        )

    def loaded(self) -> list[EngineSpec]:
        """The models that are ready, the latest started last."""
        return [s.spec for s in self._scheduler.slots.values() if s.state is State.READY]

    def context_length(self, key: EngineKey) -> int | None:
        """How many tokens the engine for `key` takes; None if it is not ready or unknown."""
        slot = self._scheduler.slots.get(key)
        engine = self._executor.engines.get(slot.generation) if slot else None
        return engine.context_length if engine else None

    def waited(self, key: EngineKey, lease: Lease) -> Waited:
        """What a lease of this engine has waited for until now."""
        if lease.asked_at is None:
            return AT_ONCE
        return self._loads.waited(key, lease.asked_at, self._clock())

    def forecast(self, key: EngineKey) -> tuple[Forecast, Download]:
        """What the requests for this engine wait for, and for how much longer; and how far its
        download is, where one runs."""
        slot = self._scheduler.slots.get(key)
        fetches = slot is not None and slot.state is State.FETCHING
        download = self._executor.progress.of(slot.attempt) if slot and fetches else NO_DOWNLOAD
        return self._scheduler.forecast(key, self._clock(), download), download

    def report(self) -> PoolStatus:
        """The state of every engine, for the operator."""
        now, executor = self._clock(), self._executor
        report = self._scheduler.report(now, executor.progress.of)
        engines = executor.engines
        return PoolStatus(
            report,
            measured=executor.devices.held(),
            context_lengths={n: one.context_length for n, one in engines.items()},
            phases={n: one.phases for n, one in engines.items()},
        )

    @property
    def downloaded(self) -> int:
        """Bytes of models that were downloaded so far."""
        return self._executor.progress.downloaded

    def ready(self) -> list[tuple[EngineSpec, Engine]]:
        """The engines that take requests."""
        engines = self._executor.engines
        return [
            (slot.spec, engines[slot.generation])
            for slot in self._scheduler.slots.values()
            if slot.state is State.READY and slot.generation in engines
        ]

    def listed(self) -> list[EngineSpec]:
        """The operator's models that are up, come, or have a process."""
        return [
            slot.spec
            for slot in self._scheduler.slots.values()
            if slot.spec.listed
            and (slot.standby or slot.state not in (State.COLD, State.FETCHED))
        ]

    def known(self) -> list[Known]:
        """The operator's models that were asked for, up or not."""
        return [
            Known(slot.spec, slot.state, bool(slot.queue))
            for slot in self._scheduler.slots.values()
            if slot.spec.listed
        ]

    def unload(self, key: EngineKey) -> None:
        """Stop an engine: now if it is idle, else after its requests in flight."""
        self._feed(events.Unload(key))

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        """Have all engines kept to other rules, those of the specs that `ruled` returns. No
        process depends on them. They hold until the next call, also for engines to come.
        Returns the engines that leave because of these rules."""
        self._ruled = ruled
        slots = tuple(self._scheduler.slots.values())
        changed = tuple(new for slot in slots if (new := ruled(slot.spec)) != slot.spec)
        stayed = [slot for slot in slots if stays(slot)]
        if changed:
            self._feed(events.Ruled(changed))
        return [slot.key for slot in stayed if not stays(slot)]

    def pin(self, key: EngineKey) -> None:
        """Let an engine neither make room nor expire, until it is unpinned or unloaded."""
        self._feed(events.Pin(key))

    def unpin(self, key: EngineKey) -> None:
        self._feed(events.Unpin(key))

    @contextmanager
    def watch(self, watcher: Watcher, *, usual: bool = True) -> Iterator[None]:
        """Tell `watcher` of each event from now on, until the block ends. `usual`: also that a
        ready engine takes a request, or has answered it, as most events are."""
        watchers = self._watchers if usual else self._patient
        watchers.append(watcher)
        try:
            yield
        finally:
            watchers.remove(watcher)

    async def shut_down(self, grace: float) -> None:
        """Refuse waiting requests, let those in flight end for `grace` seconds, and stop
        every engine."""
        deadline = self._clock() + grace
        self._feed(events.ShutDown(deadline))
        await self._emptied.wait()
        self._timer.cancel()
        if self._broken:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - self._clock())):
                    await self._unused.wait()
            await self._executor.abort()
        await self._executor.finish()

    def hurry(self) -> None:
        """End the grace of a shutdown: cut off the requests that are still in flight."""
        if self._broken:
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
        self._timer.cancel()
        self._feed(events.Tick())

    # --- the pass ----------------------------------------------------------------

    def _feed(self, event: events.Event) -> None:
        """Handle an event and perform the actions that it leads to. Never raises."""
        if self._broken:
            return
        self._inbox.append(event)
        if self._feeding:
            return  # reported while an action is performed: handled right after
        self._feeding = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
            if self._scheduler.shutting_down and self._scheduler.empty:
                self._emptied.set()
            # The scheduler computes `wake_at` from the time of the pass: from a later one, it
            # would miss what has become due since. A timer that fires early does no harm.
            if self._scheduler.wake_at < self._timer.armed_for:
                self._timer.arm(self._scheduler.wake_at)
        except Exception as defect:  # noqa: BLE001 - whatever it is, nothing can be relied on
            self._fail_hard(defect)
        finally:
            self._feeding = False

    def _handle(self, event: events.Event) -> None:
        now = self._clock()
        if self._record:
            self._record(now, event)
        done = self._scheduler.handle(event, now)
        if not _is_usual(event, done):
            self._loads.note(now, event, done)
            for watcher in self._patient:
                watcher(now, event, done)
        if self._validate:
            self._scheduler.validate()
        for watcher in self._watchers:
            watcher(now, event, done)
        for action in done:
            self._perform(action)

    def _callers(self, key: EngineKey) -> Collection[str | None]:
        """The callers whose requests wait for this engine now."""
        slot = self._scheduler.slots.get(key)
        return tuple(slot.queue.callers) if slot else ()

    def _fail_hard(self, defect: BaseException) -> None:
        """Leave no pool behind that looks alive and serves no request."""
        _log.critical("the pool is broken; this worker leaves", exc_info=defect)
        self._broken = True
        self._inbox.clear()
        self._timer.cancel()
        for lease in self._leases.values():
            if lease.waiting:
                lease.deliver(_pool_is_broken())
        if not self._leases:
            self._unused.set()
        self._emptied.set()
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


def _is_usual(event: events.Event, done: Sequence[actions.Action]) -> bool:
    """A request that a ready engine takes, or has answered: most events are such."""
    if type(event) is not events.Wanted and type(event) is not events.Released:
        return False
    return not done or (len(done) == 1 and type(done[0]) is actions.Grant)


def _pool_is_broken() -> InternalError:
    return InternalError(
        "The router has a defect, and this worker shuts down. Send the request again."
    )
