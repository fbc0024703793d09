"""The scheduler's synchronous pass: handle an event, plan, return actions.

This module uses no asyncio, process, network or wall clock. `Scheduler` owns the slots, and all
changes go through `Scheduler.handle`. A pass handles a request (`dispatch`) or any other event
(`updates`), and then makes and carries out plans (`decisions`). The planner and the quotas read
slots and return decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from math import inf

from router.models import EngineKey
from router.scheduler import actions, events
from router.scheduler.decisions import Decisions
from router.scheduler.dispatch import Dispatch
from router.scheduler.engine_life import EngineLife
from router.scheduler.forecast import NO_DOWNLOAD, Download, Forecast, Reason
from router.scheduler.history import History
from router.scheduler.invariants import SchedulerView, check
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.make_report import Downloads, make_report
from router.scheduler.predictions import Forecasts
from router.scheduler.quotas import Quotas
from router.scheduler.report import PoolReport
from router.scheduler.scheduler_state import SchedulerState
from router.scheduler.state import Slot
from router.scheduler.updates import Updates


class Scheduler:
    """The state of the pool, and the effect of each event on it.

    `history` holds measurements of earlier runs of the worker.
    """

    def __init__(self, limits: Limits, history: History | None = None) -> None:
        self.limits = limits
        self.wake_at = inf  # when a `Tick` is due, by the pool's clock; `inf`: never
        self._now = 0.0  # of the last pass
        self._state = state = SchedulerState(limits, history or History())
        self._index = state.index
        self._forecasts = Forecasts()
        quotas = Quotas(limits, state.slots, state.shared.places)
        self._dispatch = Dispatch(state, quotas)
        self._updates = Updates(state, quotas, self._forecasts)
        self._decisions = Decisions(state)

    @property
    def slots(self) -> Mapping[EngineKey, EngineLife]:
        return self._state.slots

    def in_states(self, *states: State) -> Iterator[Slot]:
        """The slots in these states, as of the last pass."""
        return chain.from_iterable(self._index.in_state(one).values() for one in states)

    @property
    def written_off(self) -> int:
        """Missing bytes, on all devices together."""
        return sum(self._state.lost)

    @property
    def shutting_down(self) -> bool:
        return self._state.shutting_down

    @property
    def empty(self) -> bool:
        """Whether no process is left or starting, except one that can't be killed."""
        return self._state.empty

    def forecast(
        self, key: EngineKey, now: float, download: Download = NO_DOWNLOAD
    ) -> Forecast:
        """Why a model does not answer yet, and when it will. Changes nothing.

        `now` must not be before the last pass. `download`: of this model.
        """
        slot = self._state.slots.get(key)
        if slot is None:
            return Forecast(Reason.QUEUED)
        return self._forecasts.of(slot, self._state.view(now), download)

    def report(self, now: float, downloads: Downloads = lambda _: NO_DOWNLOAD) -> PoolReport:
        """The state of the pool for the operator. Changes nothing.

        `now` must not be before the last pass. `downloads` returns the progress of a download
        by its number.
        """
        view = self._state.view(now)
        return make_report(
            view,
            lambda slot, download: self._forecasts.of(slot, view, download or NO_DOWNLOAD),
            downloads,
            measured=self._decisions.measured,
            waiting=self._state.shared.places.taken,
            shutting_down=self.shutting_down,
        )

    def validate(self) -> None:
        """Raise `InvariantViolation` unless every invariant holds."""
        state = self._state
        check(
            SchedulerView(
                state.slots,
                self._index,
                state.holders,
                self.limits,
                settled=self._index.settled,
                shutting_down=state.shutting_down,
                places=state.shared.places,
                wake_at=self.wake_at,
                now=self._now,
            )
        )

    def handle(self, event: events.Event, now: float) -> list[actions.Action]:
        """Handle one event, and return the resulting actions in order.

        A stale report, of an earlier generation or download, changes nothing. An exception is a
        defect: do not use the scheduler after it.
        """
        self._now = now
        slot: EngineLife | None
        if isinstance(event, events.Wanted):
            slot, done = self._dispatch.wanted(event, now)
        elif isinstance(event, events.Released):
            slot, done = self._dispatch.released(event, now, answered=event.answered)
        elif isinstance(event, events.Left):
            slot, done = self._dispatch.released(event, now, answered=None)
        else:
            return self._replan(event, self._updates.take_in(event, now))
        index = self._index
        if slot is not None and slot.state is State.READY and not slot.queue and index.settled:
            # The common case: a ready engine takes a request or has answered one. There is
            # nothing to plan.
            self._state.changed.clear()
            self.wake_at = min(self.wake_at, index.note_use(slot, now))
            return done
        return self._replan(event, done)

    def _replan(self, event: events.Event, done: list[actions.Action]) -> list[actions.Action]:
        """Plan, and add the resulting actions to those of the event."""
        state, replan_at = self._state, inf
        state.file(self._now)
        if not state.shutting_down:
            decided, replan_at = self._decisions.decide(event, self._now)
            done += decided
        state.note(done)
        self.wake_at = min(replan_at, self._index.next_due())
        return done
