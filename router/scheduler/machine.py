"""The one synchronous pass: take in an event, plan, return actions.

Knows no asyncio, process, network or wall clock. `Scheduler` owns the slots: whatever changes
one goes through `Scheduler.handle`. A pass takes in a request (`dispatch`) or any other event
(`updates`), and then carries out its plans (`enactment`). The planner and the quotas read slots
and return decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from math import inf

from router.models import EngineKey
from router.scheduler import actions, events
from router.scheduler.dispatch import Dispatch
from router.scheduler.enactment import Enactment
from router.scheduler.engine_life import EngineLife
from router.scheduler.forecast import NO_DOWNLOAD, Download, Forecast, Reason
from router.scheduler.history import History
from router.scheduler.invariants import SchedulerView, check
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.lives import Lives
from router.scheduler.outlook import Forecasts
from router.scheduler.quotas import Quotas
from router.scheduler.report import PoolReport
from router.scheduler.state import Slot
from router.scheduler.survey import Downloads, survey
from router.scheduler.updates import Updates


class Scheduler:
    """All state of the pool, and what each event does to it.

    `history`: of earlier runs of the worker.
    """

    def __init__(self, limits: Limits, history: History | None = None) -> None:
        self.limits = limits
        self.wake_at = inf  # when a `Tick` is due, by the pool's clock; `inf`: never
        self._now = 0.0  # of the last pass
        self._lives = lives = Lives(limits, history or History())
        self._roster = lives.roster
        self._forecasts = Forecasts()
        quotas = Quotas(limits, lives.slots, lives.shared.places)
        self._dispatch = Dispatch(lives, quotas)
        self._updates = Updates(lives, quotas, self._forecasts)
        self._enactment = Enactment(lives)

    @property
    def slots(self) -> Mapping[EngineKey, EngineLife]:
        return self._lives.slots

    def in_states(self, *states: State) -> Iterator[Slot]:
        """The slots in one of these, as the last pass has left them."""
        return chain.from_iterable(self._roster.in_state(one).values() for one in states)

    @property
    def written_off(self) -> int:
        """Bytes that are missing, on all devices together."""
        return sum(self._lives.lost)

    @property
    def shutting_down(self) -> bool:
        return self._lives.shutting_down

    @property
    def empty(self) -> bool:
        """No process is left or being started, except one that can't be killed."""
        return self._lives.empty

    def forecast(
        self, key: EngineKey, now: float, download: Download = NO_DOWNLOAD
    ) -> Forecast:
        """Why a model does not answer yet, and how long it takes until it does. Changes
        nothing. `now`: no earlier than the last pass. `download`: of the model."""
        slot = self._lives.slots.get(key)
        if slot is None:
            return Forecast(Reason.QUEUED)
        return self._forecasts.of(slot, self._lives.view(now), download)

    def report(self, now: float, downloads: Downloads = lambda _: NO_DOWNLOAD) -> PoolReport:
        """All that an operator may want to know. Changes nothing. `now`: no earlier than the
        last pass. `downloads`: how far each is, by its number."""
        view = self._lives.view(now)
        return survey(
            view,
            lambda slot, download: self._forecasts.of(slot, view, download or NO_DOWNLOAD),
            downloads,
            measured=self._enactment.measured,
            waiting=self._lives.shared.places.taken,
            shutting_down=self.shutting_down,
        )

    def validate(self) -> None:
        """Raise `InvariantViolation` unless every invariant holds."""
        lives = self._lives
        check(
            SchedulerView(
                lives.slots,
                self._roster,
                lives.holders,
                self.limits,
                settled=self._roster.settled,
                shutting_down=lives.shutting_down,
                places=lives.shared.places,
                wake_at=self.wake_at,
                now=self._now,
            )
        )

    def handle(self, event: events.Event, now: float) -> list[actions.Action]:
        """Take in one event, and return what to do because of it, in order.

        A stale report, of an earlier generation or download, changes nothing. An exception
        is a defect: the scheduler must not be used any more.
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
        roster = self._roster
        if slot is not None and slot.state is State.READY and not slot.queue and roster.settled:
            # The usual request: a ready engine takes it, or has answered it. Nothing to plan.
            self._lives.changed.clear()
            self.wake_at = min(self.wake_at, roster.note_use(slot, now))
            return done
        return self._replan(event, done)

    def _replan(self, event: events.Event, done: list[actions.Action]) -> list[actions.Action]:
        """Plan, and add what the plan asks for to what the event has caused."""
        lives, replan_at = self._lives, inf
        lives.file(self._now)
        if not lives.shutting_down:
            enacted, replan_at = self._enactment.enact(event, self._now)
            done += enacted
        lives.note(done)
        self.wake_at = min(replan_at, self._roster.next_due())
        return done
