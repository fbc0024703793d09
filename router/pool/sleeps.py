"""Puts engines to sleep and wakes them, for the scheduler's actions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from router.clock import Clock
from router.pool.devices import Devices
from router.pool.interfaces import Engine, SleepError
from router.scheduler import actions, events

_log = logging.getLogger(__name__)


class Sleeper:
    """Performs `Sleep` and `Wake`.

    `engines`: by generation. `missing` returns the bytes of each of these devices that should
    be free but are not. `at_fault` is set if memory can't be measured.
    """

    def __init__(
        self,
        engines: Mapping[int, Engine],
        devices: Devices,
        report: Callable[[events.Event], None],
        clock: Clock,
        *,
        missing: Callable[[tuple[int, ...]], Awaitable[tuple[int, ...]]],
        at_fault: asyncio.Event,
    ) -> None:
        self._engines, self._devices = engines, devices
        self._report, self._clock = report, clock
        self._missing, self._at_fault = missing, at_fault

    async def sleep(self, action: actions.Sleep) -> None:
        key, generation = action.key, action.generation
        began, engine = self._clock(), self._engines.get(generation)
        if engine is None:
            return  # it is already being stopped
        try:
            before = self._devices.now(generation)
            await engine.sleep()
            left = await self._devices.asleep(generation, before)
            missing, *others = await self._missing(self._devices.of(generation))
        except Exception as failure:  # noqa: BLE001 - a SleepError, or the driver is gone
            self._could_not("fall asleep", action, failure)
            return
        seconds = self._clock() - began
        room = room_for(action)
        _log.info("%s is asleep after %.1f s, with %d MiB%s", key, seconds, left >> 20, room)
        self._report(events.Asleep(key, generation, missing, left, tuple(others)))

    async def wake(self, action: actions.Wake) -> None:
        key, generation = action.key, action.generation
        began, engine = self._clock(), self._engines.get(generation)
        if engine is None:
            return  # it is already being stopped
        self._devices.waking(generation)
        try:
            await engine.wake()
        except SleepError as failure:
            self._could_not("wake", action, failure)
            return
        self._devices.woke(generation)
        _log.info("%s is awake after %.1f s", key, self._clock() - began)
        self._report(events.Awake(key, generation))

    def _could_not(
        self, what: str, action: actions.Sleep | actions.Wake, failure: Exception
    ) -> None:
        """Report the engine as crashed, so that the scheduler ends it."""
        if not isinstance(failure, SleepError):
            _log.critical("memory can't be measured", exc_info=failure)
            self._at_fault.set()
        why = f"could not {what}: {failure}"
        self._report(events.Crashed(action.key, action.generation, why))


def room_for(action: actions.Stop | actions.Sleep) -> str:
    """The model that an engine makes room for, for the log."""
    text = action.for_whom
    return f", {text}" if action.room_for else text and f" ({text})"
