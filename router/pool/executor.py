"""The tasks that carry out the machine's orders, and report back what came of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, MutableMapping

from router.clock import Clock
from router.errors import AccessError, InternalError, RouterError
from router.pool.interfaces import (
    Downloader,
    Engine,
    EngineLauncher,
    EngineStartError,
    FetchProgress,
    MemoryGauge,
)
from router.pool.progress import ProgressTracker
from router.scheduler import actions, events
from router.secrets import Token

_log = logging.getLogger(__name__)

# What an engine may take on top of what it had when it became ready (kernels that are
# loaded late), before its memory counts as missing. A chosen figure, not a measured one.
_SLACK = 1 << 30

_TELL_EVERY = 10.0  # seconds between two lines about a download

_Tasks = MutableMapping[int, asyncio.Task[None]]


class Executor:
    """One task an order. `report` is called once for each, unless it was cancelled."""

    def __init__(
        self,
        report: Callable[[events.Event], None],
        *,
        downloader: Downloader,
        launcher: EngineLauncher,
        gauge: MemoryGauge,
        clock: Clock,
    ) -> None:
        self._report, self._clock = report, clock
        self._downloader, self._launcher, self._gauge = downloader, launcher, gauge
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetches: _Tasks = {}  # by attempt
        self._starts: _Tasks = {}  # by generation
        self._watches: _Tasks = {}  # by generation
        self.engines: dict[int, Engine] = {}  # by generation
        self._footprints: dict[int, int] = {}  # bytes, by generation
        self._baseline = gauge.free()  # bytes free without any engine
        self._departures = 0  # engines that have ended, one way or the other
        self.progress = ProgressTracker(clock)
        self.at_fault = asyncio.Event()  # the machine, or the router, is broken

    def fetch(self, order: actions.Fetch, credential: Token | None) -> None:
        self._spawn(self._fetch(order, credential), self._fetches, order.attempt)

    def cancel_fetch(self, order: actions.CancelFetch) -> None:
        self._fetches[order.attempt].cancel()

    def start(self, order: actions.Start) -> None:
        self._spawn(self._start(order), self._starts, order.generation)

    def stop(self, order: actions.Stop) -> None:
        self._spawn(self._stop(order))

    def probe(self, order: actions.Probe) -> None:
        self._spawn(self._probe(order))

    def free(self) -> int | None:
        """Bytes measured free; None where the device can't be asked: it is at fault."""
        try:
            return self._gauge.free()
        except Exception as fault:  # noqa: BLE001 - whatever the driver says
            _log.critical("free memory can't be measured", exc_info=fault)
            self.at_fault.set()
            return None

    async def finish(self) -> None:
        """Wait for all tasks. No further orders may come meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(
        self,
        work: Coroutine[None, None, None],
        register: _Tasks | None = None,
        number: int = 0,
    ) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if register is not None:
            # Not in the task's own `finally`: a task that is cancelled before its first
            # step never gets there.
            register[number] = task
            task.add_done_callback(lambda _: register.pop(number, None))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            _log.critical("a task of the pool broke down", exc_info=defect)
            self.at_fault.set()

    async def _fetch(self, order: actions.Fetch, credential: Token | None) -> None:
        model, key = order.spec.model, order.spec.key

        told, come = self._clock(), 0
        latest: FetchProgress | None = None

        def note(progress: FetchProgress) -> None:
            nonlocal told, come, latest
            self.progress.note(order.attempt, progress)
            # The first tells what had been there before.
            come += max(0, progress.done - latest.done) if latest else 0
            latest = progress
            if (now := self._clock()) - told >= _TELL_EVERY:
                told = now
                charge()
                _log.info("fetching %s: %d of %d bytes", model, progress.done, progress.total)

        def charge() -> None:
            nonlocal come
            if come and order.caller is not None:
                self._report(events.Downloaded(order.caller, come))
            come = 0

        _log.info("fetching %s", model)
        self.progress.begin(order.attempt)
        try:
            snapshot = await self._downloader.fetch(model, credential, note)
        except RouterError as error:
            refused = isinstance(error, AccessError)
            report: events.Event = events.FetchFailed(key, order.attempt, error, refused)
        except Exception:  # noqa: BLE001  a defect fails this model, not the worker
            _log.exception("the download of %s broke down", model)
            defect = InternalError("The download failed inside the router: tell the operator.")
            report = events.FetchFailed(key, order.attempt, defect, blames_credential=False)
        else:
            report = events.Fetched(key, order.attempt, snapshot)
        finally:
            self.progress.end(order.attempt)
            charge()
        self._report(report)

    async def _start(self, order: actions.Start) -> None:
        key, generation = order.spec.key, order.generation
        _log.info("starting %s", key)
        self.progress.begin(generation)
        departures = self._departures
        try:
            engine = await self._launcher.start(order.spec, order.snapshot, order.allotment)
        except EngineStartError as failure:
            _log.error("%s did not start: %s", key, failure.reason)
            self._report(
                events.StartFailed(key, generation, failure.reason, failure.out_of_memory)
            )
            return
        except Exception as defect:  # noqa: BLE001
            # Unkillable, or a defect: either way this machine should not go on.
            _log.critical("the start of %s broke down", key, exc_info=defect)
            self.at_fault.set()
            self._report(events.StartFailed(key, generation, "defect", out_of_memory=False))
            return
        finally:
            seconds = self.progress.end(generation)
        _log.info("%s is ready after %.1f s", key, seconds)
        self.progress.started(key, seconds)
        self.engines[generation] = engine
        claim, free = order.allotment.claim, self.free()
        if free is None or departures != self._departures:
            used = claim  # another engine's memory came free meanwhile: no telling
        else:
            used = order.allotment.free - free
        self._footprints[generation] = max(0, min(used, claim))
        self._spawn(self._watch(order, engine), self._watches, generation)
        self._report(events.Healthy(key, generation))

    async def _watch(self, order: actions.Start, engine: Engine) -> None:
        how = await engine.exited()
        self._departures += 1
        _log.error("%s ended by itself: %s", order.spec.key, how)
        self._report(events.Crashed(order.spec.key, order.generation, how))

    async def _probe(self, order: actions.Probe) -> None:
        engine = self.engines.get(order.generation)
        if engine is None:
            return  # it is being stopped already
        if await engine.probe():
            self._report(events.Responded(order.key, order.generation))
        else:
            _log.error("%s is silent and does not answer a probe", order.key)
            self._report(events.Crashed(order.key, order.generation, "stalled"))

    async def _stop(self, order: actions.Stop) -> None:
        key, generation = order.key, order.generation
        _log.info("stopping %s: %s", key, order.why)
        if start := self._starts.get(generation):
            start.cancel()
            await asyncio.wait({start})
        if watch := self._watches.get(generation):
            watch.cancel()
        try:
            if engine := self.engines.pop(generation, None):
                await engine.stop(at_once=order.at_once)
            self._departures += 1
            self._footprints.pop(generation, None)
            missing = await self._missing()
        except Exception as fault:  # noqa: BLE001 - Unkillable, or the driver is gone
            _log.critical("%s could not be stopped", key, exc_info=fault)
            self._report(events.Stuck(key, generation))
            return
        _log.info("%s is gone", key)
        self._report(events.Gone(key, generation, missing))

    async def _missing(self) -> int:
        """Bytes that should be free, by what the engines that are left took, and are not."""
        while starts := tuple(self._starts.values()):
            await asyncio.wait(starts)  # what a start takes meanwhile is not missing
        spared = self._baseline - sum(self._footprints.values())
        target = max(0, spared - _SLACK * (len(self._footprints) + 1))
        return max(0, target - await self._gauge.recovered(target))
