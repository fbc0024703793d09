"""The second part of a pass: end what must give way, plan, and carry out the plans."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from router.scheduler import actions, events
from router.scheduler.ahead import likely_place, prestarts
from router.scheduler.engine_life import EngineLife
from router.scheduler.fairness import crowded_out, gives_way_at
from router.scheduler.group_rules import may_bar
from router.scheduler.lifecycle import State
from router.scheduler.make_report import Measurement
from router.scheduler.placement import Devices, of_each
from router.scheduler.planner import Plan, plan
from router.scheduler.scheduler_state import SchedulerState
from router.scheduler.starting_slot import Placement
from router.scheduler.state import Slot

REMEASURE = 1.0  # seconds until free memory that was not enough is measured again
ALONE_FOR = 600.0  # seconds without requests for other models before a model gets the device
CONTENDERS = 64  # at most so many waiting models are checked for whether a start must end


class Decisions:
    """The part of a pass that decides about engines. It runs after each event."""

    def __init__(self, state: SchedulerState) -> None:
        self._state, self._limits = state, state.limits
        self.measured: Measurement | None = None  # the latest one

    def decide(self, event: events.Event, now: float) -> tuple[list[actions.Action], float]:
        """Return the actions, and the time at which the decisions change without any event."""
        done = self._make_way(now)
        self._state.file(now)
        carried_out, wake_at = self._carry_out_plans(event, now)
        gives_way = (self._gives_way_at(start, now) for start in self._starting)
        return done + carried_out, min((wake_at, *gives_way))

    # --- making way ------------------------------------------------------------------

    def _make_way(self, now: float) -> list[actions.Action]:
        """End downloads and starts that have used up their time while other models wait."""
        state = self._state
        excess = len(state.index.in_state(State.FETCHING)) - self._limits.max_downloads
        done = [
            action
            for slot in crowded_out(state.index.lingering.values(), excess)
            for action in state.change(slot).abandon(now)
        ]
        for start in self._starting:
            if now >= self._gives_way_at(start, now):
                state.change(start)
                done += start.overrun(now) if start.queue else start.abandon(now)
        return done

    @property
    def _starting(self) -> list[EngineLife]:
        """The engines that are starting, at most one per device."""
        return [self._state.slots[key] for key in self._state.index.in_state(State.STARTING)]

    def _gives_way_at(self, start: Slot, now: float) -> float:
        view = self._state.view(now)
        waiting = itertools.islice(view.in_turn(), CONTENDERS)
        fit = (one for one in waiting if view.contends(one, start) and not view.unfit(one))
        return gives_way_at(start, fit, self._limits)

    # --- the plan --------------------------------------------------------------------

    def _carry_out_plans(
        self, event: events.Event, now: float
    ) -> tuple[list[actions.Action], float]:
        """Return the actions, and the time at which the plan changes without any event.

        Engines start and stop side by side on different devices, so a pass may carry out one
        plan per device.
        """
        free = self._free(event, now)
        done: list[actions.Action] = []
        started = False
        for left in reversed(range(self._limits.devices)):
            decided = plan(self._state.view(now, free))
            started = started or decided.start is not None
            last = left == 0 or not (decided.start or decided.evict or decided.expire)
            done += self._follow(decided, now, last=last)
            self._state.file(now)
            if last:
                break
        wake_at = decided.wake_at
        if free is not None and not started and self._state.index.queued:
            wake_at = min(wake_at, now + REMEASURE)
        return done, wake_at

    def _free(self, event: events.Event, now: float) -> Sequence[int] | None:
        """Free bytes of each device, if this event measured them."""
        if not isinstance(event, events.Measured):
            return None
        each = of_each(event.free, event.others, tuple(range(self._limits.devices)))
        free = tuple(each.values())
        self.measured = Measurement(free, now)
        return free

    def _follow(self, decided: Plan, now: float, *, last: bool) -> list[actions.Action]:
        """`last`: this is the last plan of the pass."""
        change = self._state.change
        done: list[actions.Action] = [actions.Measure()] if decided.measure else []
        for slot, error in decided.reject:
            done += change(slot).fail(error)
        if decided.drain is not None:
            done += self._drain_or_revive(decided.drain, decided.evict, now)
        if decided.start is not None:
            done += self._start(change(decided.start), decided.free, decided.devices, now)
        if decided.evict is not None:
            wanted = next(
                (one.key for one, left in decided.rooms.items() if decided.evict in left), None
            )
            evicted = change(decided.evict).evict(now, sleep=decided.sleep)
            done.append(replace(evicted, room_for=wanted, group=_group_of(decided)))
        if decided.expire is not None:
            done.append(change(decided.expire).expire(now))
        ahead = last and not decided.measure
        return done + self._start_ahead(decided, now) if ahead else done

    def _drain_or_revive(
        self, drain: tuple[Slot, ...], evict: Slot | None, now: float
    ) -> list[actions.Action]:
        state = self._state
        done: list[actions.Action] = []
        for slot in drain:
            state.change(slot).drain(now)
        for slot in tuple(state.index.in_state(State.DRAINING).values()):
            if slot not in drain and slot is not evict and not slot.unloads:
                done += state.change(slot).revive(now)
        return done

    # --- starts ----------------------------------------------------------------------

    def _start(
        self, slot: EngineLife, free: int, devices: Devices, now: float
    ) -> list[actions.Action]:
        whole = self._gets_all(slot, now)
        return slot.start(free, now, place=self._placement(devices), whole=whole)

    def _start_ahead(self, decided: Plan, now: float) -> list[actions.Action]:
        state = self._state
        done: list[actions.Action] = []
        state.file(now)
        view = state.view(now)
        new, surplus = prestarts(view, decided)
        for slot in surplus:
            done += state.change(slot).dismiss("others are wanted more", now)
        for slot in new:
            devices = decided.places.get(slot) or likely_place(view, slot)
            if devices is None:
                continue
            place, whole = self._placement(devices), self._gets_all(slot, now)
            done.append(state.change(slot).prestart(now, place=place, whole=whole))
        return done

    def _placement(self, devices: Devices) -> Placement:
        return Placement(devices, self._state.usable(devices))

    def _gets_all(self, slot: Slot, now: float) -> bool:
        """Whether it may have the whole device: no other model was requested for a while."""
        since = now - ALONE_FOR
        return self._limits.whole_device and not any(
            other is not slot
            and (other.queue or other.state.claims or other.demand.last > since)
            for other in self._state.slots.values()
        )


def _group_of(decided: Plan) -> str | None:
    """The group for which the plan evicts an engine; None if it does so to free memory."""
    for slot, group in decided.groups.items():
        if decided.evict in decided.rooms.get(slot, ()):
            other = None if decided.evict is None else decided.evict.spec.group
            return group if may_bar(slot.spec.group, other) else None
    return None
