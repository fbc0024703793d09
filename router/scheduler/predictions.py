"""Predicts from the plan when each model will answer.

The prediction uses the current state of the engines, the planned evictions and their times, the
models that are earlier in line, and durations that were measured here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf

from router.scheduler import rejections
from router.scheduler.forecast import (
    GUESSED,
    OVERDUE,
    SHORTEST,
    Download,
    Forecast,
    Reason,
    rest,
)
from router.scheduler.history import Stage
from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices
from router.scheduler.planner import plan
from router.scheduler.state import Slot
from router.scheduler.view import View

_LASTS = 1.0  # seconds until the line is computed again

_STAGES = {
    State.STARTING: Stage.START,
    State.WAKING: Stage.WAKE,
    State.FALLING_ASLEEP: Stage.SLEEP,
    State.STOPPING: Stage.STOP,
}


class Forecasts:
    """The forecasts of one scheduler. Recomputes the line at most once a second, no matter how
    many requests ask."""

    def __init__(self) -> None:
        self._line: _Lineup | None = None

    def of(self, slot: Slot, view: View, download: Download) -> Forecast:
        """`download`: the progress of the model's download, if one runs."""
        line = self._line
        new = slot.startable and (line is None or slot not in line.places)
        if line is None or new or view.now - line.made_at >= _LASTS:
            line = self._line = _Lineup(view)
        predictor = _Predictor(view)
        found = predictor.forecast(slot, line, download)
        return replace(found, guessed=True) if predictor.guesses(slot, found) else found


def place_in(view: View) -> float:
    """Seconds until a full queue will probably have free places.

    An engine that is up finishes requests all the time. If there is none with waiting requests,
    places become free when an engine that is starting becomes ready.
    """
    in_state = view.index.in_state
    if any(slot.queue for slot in in_state(State.READY).values()):
        return rejections.BACK_OFF
    predictor = _Predictor(view)
    ready_in = [
        predictor.settles_at(slot) - view.now
        for state in (State.STARTING, State.WAKING)
        for slot in in_state(state).values()
        if slot.queue
    ]
    return max(rejections.BACK_OFF, min(ready_in, default=rejections.LATER))


@dataclass(frozen=True, slots=True)
class _Expected:
    """When a model in line should answer, and when there will be room for it."""

    answers_at: float
    room_at: float | None = None  # None: no engine has to leave for it


class _Lineup:
    """The models that wait for room, with their expected times at one moment."""

    def __init__(self, view: View) -> None:
        self.made_at = view.now
        self.places = {slot: place for place, slot in enumerate(view.in_turn())}
        self.turns: dict[Slot, _Expected] = {}
        predictor, decided = _Predictor(view), plan(view)
        self.groups = decided.groups
        # On each device, one engine at a time takes or releases memory.
        self._ends_at = [view.now] * view.limits.devices
        frees: set[int] = set()  # devices
        for engine in view.index.engines:
            self._note(engine.devices, predictor.settles_at(engine))
            if engine.state in (State.STOPPING, State.FALLING_ASLEEP):
                frees.update(engine.devices)
        for slot in decided.next:
            devices = decided.places.get(slot, tuple(range(view.limits.devices)))
            free_at = max(self._ends_at[device] for device in devices)
            freed = not frees.isdisjoint(devices)
            leaving = decided.rooms.get(slot)
            turn = self.turns[slot] = predictor.turn(slot, leaving, free_at, frees=freed)
            self._note(devices, turn.answers_at)
            frees.difference_update(devices)

    def _note(self, devices: Devices, ends_at: float) -> None:
        for device in devices:
            self._ends_at[device] = max(self._ends_at[device], ends_at)

    @property
    def ends_at(self) -> float:
        """When the models in line are loaded, on the device that is done first."""
        return min(self._ends_at)


class _Predictor:
    """Computes expected times for one view."""

    def __init__(self, view: View) -> None:
        self._view, self._now, self._pace = view, view.now, view.pace

    def forecast(self, slot: Slot, line: _Lineup, download: Download) -> Forecast:
        if slot.state in (State.STARTING, State.WAKING):
            loads = Reason.STARTING if slot.state is State.STARTING else Reason.WAKING
            stage, since = self._stage(slot)
            expected = self._expected(stage, slot, slot.size)
            found = self._until(loads, self.settles_at(slot))
            return replace(found, expected=expected, elapsed=self._now - since)
        if slot.state is State.FETCHING:
            return self._fetching(slot, line, download)
        if slot.state is State.READY:
            return self._busy(slot)
        return (
            Forecast(Reason.QUEUED) if slot.state is State.COLD else self._waiting(slot, line)
        )

    def _waiting(self, slot: Slot, line: _Lineup) -> Forecast:
        """Forecast for a model that is on disk while its engine is down or about to leave."""
        if self._now < slot.retry_at:
            return self._until(Reason.COOLING, slot.retry_at + self._pace.return_time(slot))
        turn, grouped = line.turns.get(slot), slot in line.groups
        if turn is None or turn.room_at is None:
            at = self._after_all(slot, line) if turn is None else turn.answers_at
            return self._until(Reason.GROUP if grouped else Reason.TURN, at)
        room_in = max(SHORTEST, turn.room_at - self._now)
        reason = Reason.GROUP if grouped else Reason.ROOM
        return Forecast(reason, max(SHORTEST, turn.answers_at - self._now), room_in)

    def turn(
        self, slot: Slot, leaving: tuple[Slot, ...] | None, free_at: float, *, frees: bool
    ) -> _Expected:
        """When the model gets its turn.

        `leaving`: the engines that make room for it; None: enough of them leave only after
        earlier models had their turn. `free_at`: when those models are loaded. `frees`: an
        engine is already leaving.
        """
        takes = self._pace.return_time(slot)
        if leaving is None:
            return _Expected(max(free_at, self._paced(slot)) + takes)
        if not leaving:
            return _Expected(free_at + takes, free_at if frees else None)
        begin = max(self._now, *(self._pace.leaves_at(one, slot) for one in leaving))
        if begin == inf:
            begin = self._now
        drained = begin + max(self._drains_for(one, begin) for one in leaving)
        room_at = max(free_at, drained) + sum(map(self._leaves_for, leaving))
        return _Expected(room_at + takes, room_at)

    def settles_at(self, slot: Slot) -> float:
        """When an engine stops taking or releasing memory; now, if it does not do that."""
        if slot.state not in _STAGES:
            return self._now
        stage, since = self._stage(slot)
        expected = self._expected(stage, slot, slot.size)
        share = OVERDUE if self._measured(stage, slot) else GUESSED
        return self._now + rest(expected, self._now - since, share)

    def guesses(self, slot: Slot, found: Forecast) -> bool:
        """Whether the expected start time of the engine is a guess."""
        if found.seconds is None or found.reason in (Reason.WAKING, Reason.PLACE):
            return False
        if slot.state is State.ASLEEP:
            return False
        ahead = slot.from_gate if slot.state is State.STARTING else slot.standby is not None
        return not self._measured(Stage.FROM_GATE if ahead else Stage.START, slot)

    def _measured(self, stage: Stage, slot: Slot) -> bool:
        return self._view.history.known(stage, slot.key, slot.size) is not None

    def _stage(self, slot: Slot) -> tuple[Stage, float]:
        """The current stage of an engine that takes or frees memory, and when it began."""
        stage = _STAGES[slot.state]
        if stage is not Stage.START:
            return stage, slot.moved_at
        return Stage.FROM_GATE if slot.from_gate else stage, slot.process_since

    def _fetching(self, slot: Slot, line: _Lineup, download: Download) -> Forecast:
        if download.queued:
            return Forecast(Reason.DOWNLOADS)
        if download.seconds is None:
            return Forecast(Reason.FETCHING)
        complete = self._now + max(SHORTEST, download.seconds)
        begin = max(complete, line.ends_at) if line.turns else complete
        stage = Stage.FROM_GATE if slot.standby else Stage.START
        start = self._expected(stage, slot, max(slot.size, download.total))
        return self._until(Reason.FETCHING, begin + start)

    def _busy(self, slot: Slot) -> Forecast:
        """Forecast for an engine that is up: its requests wait for answers to others."""
        if not slot.queue or not slot.service:
            return Forecast(Reason.PLACE)
        rounds = ceil(len(slot.queue) / slot.most(self._view.limits))
        return Forecast(Reason.PLACE, max(SHORTEST, rounds * slot.service))

    def _after_all(self, slot: Slot, line: _Lineup) -> float:
        """For a model whose engine is leaving, or that is too far back to be placed yet."""
        gone = self._now
        if slot.state is not State.FETCHED and slot.state is not State.ASLEEP:
            gone += self._drains_for(slot, self._now) + self._leaves_for(slot)
        ends_at = line.ends_at
        if slot in line.places and line.turns:  # assume the same time for each earlier model
            each = (ends_at - line.made_at) / len(line.turns)
            ends_at = max(ends_at, line.made_at + line.places[slot] * each)
        return max(gone, ends_at, self._paced(slot)) + self._pace.return_time(slot)

    def _paced(self, slot: Slot) -> float:
        """When the model may take the memory of an engine that came just before it."""
        back = self._pace.return_time(slot)
        swap = self._expected(Stage.STOP, slot, slot.size) + back
        since = self._now if slot.turn_since == inf else slot.turn_since
        return since + self._pace.patience(swap) - back

    def _drains_for(self, victim: Slot, begin: float) -> float:
        """Seconds from `begin`, when an engine takes no more requests, until it is idle."""
        if begin > self._now or not victim.leases:
            return victim.service if victim.leases else 0.0
        return max(rest(victim.service, self._now - at) for at in victim.since.values())

    def _leaves_for(self, victim: Slot) -> float:
        sleeps = victim.sleeps and victim.state is not State.ASLEEP
        stage = Stage.SLEEP if sleeps else Stage.STOP
        return self._expected(stage, victim, victim.size)

    def _until(self, reason: Reason, at: float) -> Forecast:
        return Forecast(reason, max(SHORTEST, at - self._now))

    def _expected(self, stage: Stage, slot: Slot, size: int) -> float:
        return self._view.history.expected(stage, slot.key, size)
