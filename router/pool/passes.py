"""Passes each event to the scheduler, and performs the resulting actions.

Events come from requests, from the executor's tasks and from a timer. An event that is reported
while an action is performed waits for the next pass.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from router.clock import Clock
from router.pool.timer import Timer
from router.scheduler import actions, events
from router.scheduler.machine import Scheduler

Record = Callable[[float, events.Event], None]
# Called with the time, an event, and the resulting actions. Must not raise.
Watcher = Callable[[float, events.Event, Sequence[actions.Action]], None]


class Passes:
    """Runs the scheduler's passes.

    * `perform` performs one action.
    * `broke` is called with a defect in a pass.
    * `record` is called with each event before it is handled.
    * `validate`: check all invariants after each event, which is slow.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        perform: Callable[[actions.Action], None],
        broke: Callable[[BaseException], None],
        *,
        clock: Clock,
        record: Record | None,
        validate: bool,
    ) -> None:
        self._scheduler, self._perform, self._broke = scheduler, perform, broke
        self._clock, self._record, self._validate = clock, record, validate
        self._inbox: deque[events.Event] = deque()
        self._feeding = False
        self._watchers: list[Watcher] = []
        self._patient: list[Watcher] = []  # watchers that skip usual events
        self._timer = Timer(self.tick, clock)
        self._emptied = asyncio.Event()  # no engine is left, or there is a defect
        self.broken = False  # there is a defect: no further events are handled

    def feed(self, event: events.Event) -> None:
        """Handle an event and perform the resulting actions. Never raises."""
        if self.broken:
            return
        self._inbox.append(event)
        if self._feeding:
            return  # reported while an action is performed, so it is handled right after
        self._feeding = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
            if self._scheduler.shutting_down and self._scheduler.empty:
                self._emptied.set()
            # Compute `wake_at` at the time of the pass. At a later time it would miss what has
            # become due since. A timer that fires early is harmless.
            if self._scheduler.wake_at < self._timer.armed_for:
                self._timer.arm(self._scheduler.wake_at)
        except Exception as defect:  # noqa: BLE001 - after any error, nothing can be relied on
            self._broke(defect)
        finally:
            self._feeding = False

    def tick(self) -> None:
        """Do what is due by now."""
        self._timer.cancel()
        self.feed(events.Tick())

    def break_off(self) -> None:
        """Handle no more events, because there is a defect."""
        self.broken = True
        self._inbox.clear()
        self._timer.cancel()
        self._emptied.set()

    async def emptied(self) -> None:
        """Wait until a shutdown has left no engine, or a defect was found."""
        await self._emptied.wait()
        self._timer.cancel()

    def keep_telling(self, watcher: Watcher) -> None:
        """Report each event to `watcher` forever, except for usual ones."""
        self._patient.append(watcher)

    @contextmanager
    def watch(self, watcher: Watcher, *, usual: bool) -> Iterator[None]:
        """Report each event to `watcher` until the block ends. `usual`: include the most common
        events, in which a ready engine takes or has answered a request."""
        watchers = self._watchers if usual else self._patient
        watchers.append(watcher)
        try:
            yield
        finally:
            watchers.remove(watcher)

    def _handle(self, event: events.Event) -> None:
        now = self._clock()
        if self._record:
            self._record(now, event)
        done = self._scheduler.handle(event, now)
        if not _is_usual(event, done):
            for watcher in self._patient:
                watcher(now, event, done)
        if self._validate:
            self._scheduler.validate()
        for watcher in self._watchers:
            watcher(now, event, done)
        for action in done:
            self._perform(action)


def _is_usual(event: events.Event, done: Sequence[actions.Action]) -> bool:
    """Whether a ready engine takes or has answered a request, as in most events."""
    if type(event) is not events.Wanted and type(event) is not events.Released:
        return False
    return not done or (len(done) == 1 and type(done[0]) is actions.Grant)
