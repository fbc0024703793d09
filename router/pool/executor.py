"""The tasks that perform the scheduler's actions and report the results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from router.clock import Clock
from router.models import EngineKey
from router.pool.devices import Devices
from router.pool.fetches import Fetcher
from router.pool.interfaces import (
    Callers,
    Downloader,
    Engine,
    EngineLauncher,
    EngineStartError,
    MemoryGauge,
)
from router.pool.progress import ProgressTracker
from router.pool.sleeps import Sleeper, room_for
from router.pool.starts import StartGate, failed
from router.pool.task_set import PoolTasks, TasksByNumber
from router.scheduler import actions, events
from router.scheduler.lifecycle import Cause
from router.secrets import Token

_log = logging.getLogger(__name__)

# Seconds. A process that is being killed closes its connections before it exits.
EXITS_WITHIN = 1.0


class Executor:
    """Runs one task per action. A task reports once, unless it was canceled.

    * `broke`: called with a defect in a task.
    * `gauges`: one per device.
    * `exits_within`: seconds to wait for a lost engine's process to exit, to log the reason.
    """

    def __init__(
        self,
        report: Callable[[events.Event], None],
        broke: Callable[[BaseException], None],
        *,
        downloader: Downloader,
        launcher: EngineLauncher,
        gauges: Sequence[MemoryGauge],
        clock: Clock,
        exits_within: float = EXITS_WITHIN,
    ) -> None:
        self._exits_within = exits_within
        self._report, self._clock = report, clock
        self._launcher = launcher
        self.tasks = PoolTasks(broke)
        self._fetches: TasksByNumber = {}  # by attempt
        self._starts: TasksByNumber = {}  # by generation
        self._gates: dict[int, StartGate] = {}  # the closed ones, by generation
        self._started_at: dict[int, float] = {}  # of those not ready, by generation
        self._watches: TasksByNumber = {}  # by generation
        self._told: dict[int, str] = {}  # logged reasons of failed starts, by generation
        self._changes: TasksByNumber = {}  # engines that fall asleep or wake, by generation
        self.engines: dict[int, Engine] = {}  # by generation
        self.cut_off: set[int] = set()  # engines that were stopped while they had requests
        self.devices = Devices(gauges)
        self.progress = ProgressTracker(clock)
        self._fetcher = Fetcher(downloader, self.progress, report, clock)
        self.at_fault = asyncio.Event()  # the machine or the router is broken
        self._sleeper = Sleeper(
            self.engines,
            self.devices,
            report,
            clock,
            missing=self._missing,
            at_fault=self.at_fault,
        )

    def fetch(self, action: actions.Fetch, credential: Token | None, callers: Callers) -> None:
        work = self._fetcher.fetch(action, credential, callers)
        self.tasks.spawn(work, self._fetches, action.attempt)

    def perform(self, action: actions.Task) -> None:
        match action:
            case actions.CancelFetch(_, attempt):
                self._fetches[attempt].cancel()
            case actions.Prestart():
                self._prestart(action)
            case actions.Start():
                self._start(action)
            case actions.Sleep():
                self.tasks.spawn(self._sleeper.sleep(action), self._changes, action.generation)
            case actions.Wake():
                self.tasks.spawn(self._sleeper.wake(action), self._changes, action.generation)
            case actions.Stop():
                if action.why == Cause.DRAIN_TIMEOUT:
                    self.cut_off.add(action.generation)
                self.tasks.spawn(self._stop(action))
            case actions.Probe():
                self.tasks.spawn(self._probe(action))

    def free(self) -> tuple[int, ...] | None:
        """The free bytes of each device; None if measuring fails: the machine is at fault."""
        try:
            return self.devices.free()
        except Exception as fault:  # noqa: BLE001 - the driver may raise anything
            _log.critical("free memory can't be measured", exc_info=fault)
            self.at_fault.set()
            return None

    async def abort(self) -> None:
        """End all downloads, starts and engines, even those unknown to the scheduler."""
        self.cut_off.update(self.engines)
        for tasks in (self._fetches, self._starts, self._changes, self._watches):
            for task in tasks.values():
                task.cancel()
        await self.tasks.finish()  # this includes stops in progress
        while self.engines:
            _, engine = self.engines.popitem()
            self.tasks.spawn(engine.stop(at_once=True))
        await self.tasks.finish()

    def _prestart(self, action: actions.Prestart) -> None:
        key, generation = action.spec.key, action.generation

        def reached() -> None:
            self.devices.stands(generation, self.free())
            if generation in self._gates:  # otherwise it continues at once
                _log.info("%s stands by", key)
                self._report(events.Standing(key, generation))

        _log.info("prestarting %s", key)
        self.devices.prestarted(generation, action.allotment, self.free())
        gate = self._gates[generation] = StartGate(reached)
        self.tasks.spawn(self._bring_up(action, gate), self._starts, generation)

    def _start(self, action: actions.Start) -> None:
        generation = action.generation
        _log.info("starting %s", action.spec.key)
        gate = self._gates.pop(generation, None)
        if gate is None:
            self.tasks.spawn(self._bring_up(action), self._starts, generation)
        else:
            gate.open(action.allotment)
        self._started_at[generation] = self._clock()
        # The measurement for the start is that of the fullest of its devices.
        free = self.free() if len(action.allotment.devices) > 1 else None
        self.devices.loads(generation, action.allotment, free)

    async def _bring_up(
        self, action: actions.Start | actions.Prestart, gate: StartGate | None = None
    ) -> None:
        key, generation = action.spec.key, action.generation
        try:
            engine = await self._launcher.start(
                action.spec, action.snapshot, action.allotment, gate
            )
        except EngineStartError as failure:
            _log.error("%s did not start: %s", key, failure.reason)
            self._told[generation] = failure.reason
            self.devices.note_given_back(generation)
            self._report(failed(key, generation, failure))
            return
        except Exception as defect:  # noqa: BLE001
            # It can't be killed, or there is a defect: either way, this machine should not go
            # on.
            _log.critical("the start of %s broke down", key, exc_info=defect)
            self.at_fault.set()
            self._report(events.StartFailed(key, generation, "defect", out_of_memory=False))
            return
        seconds = self._clock() - self._started_at.pop(generation)
        how = " (prestarted)" if gate is not None and gate.stood else ""
        _log.info("%s is ready after %.1f s%s", key, seconds, how)
        self.engines[generation] = engine
        taken = self.devices.started(generation, self.free())
        self.tasks.spawn(self._watch(action, engine), self._watches, generation)
        self._report(events.Healthy(key, generation, taken))

    async def _watch(self, action: actions.Start | actions.Prestart, engine: Engine) -> None:
        how = await engine.exited()
        self.devices.note_given_back(action.generation)
        self._report(events.Crashed(action.spec.key, action.generation, how))

    async def lost(self, key: EngineKey, generation: int) -> None:
        """Report an engine that does not answer as crashed. If its process exits within a
        moment, its watch reports the crash instead, and knows the reason."""
        watch = self._watches.get(generation)
        if watch is not None:
            await asyncio.wait({watch}, timeout=self._exits_within)
        if watch is None or not watch.done():
            self._report(events.Crashed(key, generation, "connection lost"))

    async def _probe(self, action: actions.Probe) -> None:
        engine = self.engines.get(action.generation)
        if engine is None:
            return  # it is already being stopped
        if await engine.probe():
            self._report(events.Responded(action.key, action.generation))
        else:
            why = "it stalled: it is silent, and does not answer a probe"
            self._report(events.Crashed(action.key, action.generation, why))

    async def _stop(self, action: actions.Stop) -> None:
        key, generation = action.key, action.generation
        level = self._level(action)
        _log.log(level, "stopping %s: %s", key, _why(action))
        self._gates.pop(generation, None)
        devices = self.devices.of(generation)
        for tasks in (self._starts, self._changes):
            if task := tasks.get(generation):
                task.cancel()
                await asyncio.wait({task})
        if watch := self._watches.get(generation):
            watch.cancel()
        try:
            if engine := self.engines.pop(generation, None):
                await engine.stop(at_once=action.at_once)
            self.devices.ended(generation)
            self._started_at.pop(generation, None)
            missing, *others = await self._missing(devices)
        except Exception as fault:  # noqa: BLE001 - Unkillable, or the driver is gone
            _log.critical("%s could not be stopped", key, exc_info=fault)
            self._report(events.Stuck(key, generation))
            return
        _log.log(level, "%s is gone", key)
        self._report(events.Gone(key, generation, missing, tuple(others)))

    def _level(self, action: actions.Stop) -> int:
        """The log level for a stop: DEBUG if the log already has the failure of this engine."""
        told = self._told.pop(action.generation, None)
        cause, _, detail = action.why.partition(": ")
        is_told = cause == Cause.CRASHED or (told is not None and detail == told)
        return logging.DEBUG if is_told else logging.INFO

    async def _missing(self, devices: tuple[int, ...]) -> tuple[int, ...]:
        """For each of these devices, the bytes that should be free but are not, judging by the
        footprints of the remaining engines."""
        # Memory that a start takes meanwhile is not missing. At its gate, a process takes none.
        while loads := [
            one
            for n, one in self._starts.items()
            if n not in self._gates and self.devices.shares(n, devices)
        ]:
            await asyncio.wait(loads)
        return await self.devices.missing(devices)


def _why(action: actions.Stop) -> str:
    return action.why + room_for(action)
