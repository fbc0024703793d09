"""The one synchronous pass: take in an event, plan, return actions.

Knows no asyncio, process, network or wall clock. `Scheduler` owns the slots: whatever changes
one goes through `Scheduler.handle`. The planner and the quotas read slots and return
decisions.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import inf

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler import actions, events, rejections
from router.scheduler.engine_life import (
    LONGEST_BACKOFF,
    SHORT_COOL_DOWN,
    EngineLife,
)
from router.scheduler.fairness import StartSeconds, crowded_out, gives_way_at
from router.scheduler.invariants import SchedulerView, check
from router.scheduler.lifecycle import State
from router.scheduler.planner import Capacity, Plan, plan, unfit, unpinned, waiting_models
from router.scheduler.quotas import Quotas
from router.scheduler.state import Limits, Slot
from router.scheduler.waiting import QueuePlaces

REMEASURE = 1.0  # seconds until free memory that was not enough is measured again
SNAPSHOTS_REMEMBERED = 32  # models on disk that have no engine


class Scheduler:
    """All state of the pool, and what each event does to it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.slots: dict[EngineKey, EngineLife] = {}
        self.shutting_down = False
        self.written_off = 0  # bytes that are missing on the device
        self.wake_at = inf  # when a `Tick` is due, by the pool's clock; `inf`: never
        self._places, self._starts = QueuePlaces(), StartSeconds()
        self._quotas = Quotas(limits, self.slots, self._places)
        self._holders: dict[int, EngineLife] = {}  # by waiter, until it leaves or fails
        self._numbers = itertools.count(1)  # of starts and downloads
        self._settled = True  # no request waits, and no engine drains
        self._now = 0.0  # of the last pass

    @property
    def empty(self) -> bool:
        """No process is left or being started, except one that can't be killed."""
        return not any(
            (slot.state.claims and not slot.stuck) or slot.state is State.FETCHING
            for slot in self.slots.values()
        )

    def validate(self) -> None:
        """Raise `InvariantViolation` unless every invariant holds."""
        check(
            SchedulerView(
                self.slots,
                self._holders,
                self.limits,
                settled=self._settled,
                shutting_down=self.shutting_down,
                places=self._places,
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
        match event:
            case events.Wanted():
                slot, done = self._wanted(event)
            case events.Released(waiter, answered):
                slot, done = self._released(event, waiter, answered=answered)
            case events.Left(waiter):
                slot, done = self._released(event, waiter, answered=None)
            case _:
                return self._replan(event, self._advance(event))
        if not self._settled or (slot and (slot.queue or slot.state is not State.READY)):
            return self._replan(event, done)
        # The usual request: a ready engine takes it, or has answered it. Nothing to plan.
        if slot is not None:
            self.wake_at = min(self.wake_at, slot.due_at(self.limits, now))
        return done

    def _replan(self, event: events.Event, done: list[actions.Action]) -> list[actions.Action]:
        """Plan, and add what the plan asks for to what the event has caused."""
        replan_at = inf
        if not self.shutting_down:
            done += self._make_way()
            decided = self._plan(event)
            done += self._follow(decided)
            replan_at = min(decided.wake_at, self._start_gives_way_at())
        for action in done:
            if isinstance(action, actions.Fail):
                self._holders.pop(action.waiter, None)
        self._forget_unused()
        slots = self.slots.values()
        self._settled = not any(slot.queue or slot.state is State.DRAINING for slot in slots)
        due = min((slot.due_at(self.limits, self._now) for slot in slots), default=inf)
        self.wake_at = min(replan_at, due)
        return done

    # --- requests --------------------------------------------------------------------

    def _wanted(self, request: events.Wanted) -> tuple[EngineLife, list[actions.Action]]:
        key, now = request.spec.key, self._now
        slot = self.slots.get(key)
        if slot is None:
            slot = EngineLife(
                request.spec, self.limits, self._numbers, self._places, self._starts
            )
            self.slots[key] = slot
        slot.note(request, now)
        if error := slot.refusal(request, now):
            return slot, [actions.Fail(request.waiter, error)]
        made_room: list[actions.Action] = []
        on_trial = slot.suspicion.active(now)  # then it may have to wait for others to end
        served = not on_trial and slot.accepts(request.caller, self.limits)
        if slot.yielded_by_quota or not served:
            slot.configure(request.spec, self.written_off)
            if error := self._admit(slot, request, served=served):
                return slot, [actions.Fail(request.waiter, error)]
            made_room = [] if served else self._make_room(request)
        self._holders[request.waiter] = slot
        return slot, [*made_room, *slot.enqueue(request, now)]

    def _admit(
        self, slot: EngineLife, request: events.Wanted, *, served: bool
    ) -> RouterError | None:
        """Refuse a request that is to wait, or let it count against its caller's quotas."""
        now = self._now
        if error := self._refusal(slot, request, served=served):
            return error
        ruling = self._quotas.rule(slot, request, now, served=served)
        for key in ruling.yields:
            self.slots[key].yield_by_quota()
        if ruling.starts:
            slot.belong_to(request.caller)
            self._quotas.charge_start(request.caller, now)
        return ruling.error

    def _refusal(
        self, slot: Slot, request: events.Wanted, *, served: bool
    ) -> RouterError | None:
        if self.shutting_down:
            return rejections.shutting_down()
        if slot.retry_at - self._now > SHORT_COOL_DOWN:
            return rejections.cooling_down(slot, self._now)
        if slot.state is State.FETCHING and request.credential_digest in slot.refused:
            return slot.refused[request.credential_digest]
        if not slot.state.claims and (error := self._unfit(slot, self._room())):
            return error
        if served or request.retried:
            return None
        hopeless = self._full and self._places.given_up_for(request.caller) is None
        return rejections.queue_full() if hopeless else None

    @property
    def _full(self) -> bool:
        return self._places.taken >= self.limits.max_queue

    def _make_room(self, request: events.Wanted) -> list[actions.Action]:
        """Where all places are taken, free one that another caller has too many of."""
        if request.retried or not self._full:
            return []
        last = self._places.given_up_for(request.caller)
        assert last is not None  # noqa: S101  else `_refusal` has refused the request
        slot = self._holders[last.waiter]
        return slot.refuse(last.waiter, rejections.place_given_up(), self._now)

    def _released(
        self, event: events.Released | events.Left, waiter: int, *, answered: bool | None
    ) -> tuple[EngineLife | None, list[actions.Action]]:
        slot = self._holders.pop(waiter, None)
        if slot is None:
            return None, []
        slot.note(event, self._now)
        return slot, slot.release(waiter, self._now, answered=answered)

    # --- all other events ------------------------------------------------------------

    def _advance(self, event: events.Event) -> list[actions.Action]:
        slots, now = self.slots.values(), self._now
        match event:
            case events.ShutDown(deadline):
                self.shutting_down = True
                return [done for slot in slots for done in slot.shut_down(deadline, now)]
            case events.Thawed():
                return [done for slot in slots for done in slot.probe()]
            case events.Tick():
                return [done for slot in slots for done in slot.tick(now)]
            case events.Downloaded(caller, size):
                self._quotas.charge_bytes(caller, size, now)
            case events.ForgetSnapshot(repo_id, commit):
                for key, slot in self.slots.items():
                    if (key.repo_id, key.commit) == (repo_id, commit):
                        slot.forget_snapshot(now)
            case _ if isinstance(event, events.Report):
                return self._reported(event)
        return []  # `Measured` is for the plan of this pass

    def _reported(self, event: events.Report) -> list[actions.Action]:
        slot = self.slots.get(event.key)
        if slot is None:
            return []
        before = slot.state
        done = slot.report(event, self._now)
        if isinstance(event, events.Gone) and slot.state is not before:
            if event.missing > self.written_off:
                lost = f"{event.missing} bytes of accelerator memory are missing."
                done.append(actions.Alarm(lost))
            self.written_off = event.missing
            for other in self.slots.values():  # a claim may be a share of what is left
                other.configure(other.spec, self.written_off)
        return done

    def _forget_unused(self) -> None:
        """Drop slots that nothing needs: failed downloads, and models long unused."""
        on_disk = []
        for key, slot in tuple(self.slots.items()):
            remembers = slot.suspicion.active(self._now)
            cooling = slot.failures and self._now < slot.retry_at + LONGEST_BACKOFF
            if slot.queue or remembers:
                continue
            if slot.state is State.COLD and not cooling:
                del self.slots[key]
            elif slot.state is State.FETCHED and self._now >= slot.retry_at:
                on_disk.append(slot)
        for slot in sorted(on_disk, key=lambda slot: slot.last_used)[:-SNAPSHOTS_REMEMBERED]:
            del self.slots[slot.key]

    # --- making way ------------------------------------------------------------------

    def _make_way(self) -> list[actions.Action]:
        """End downloads and the start that others wait for, and that have had their turn."""
        slots, now = self.slots, self._now
        done = [
            slots[slot.key].abandon(now) for slot in crowded_out(slots.values(), self.limits)
        ]
        start = self._starting
        if start is not None and now >= self._start_gives_way_at():
            done += start.overrun(now) if start.queue else [start.abandon(now)]
        return done

    @property
    def _starting(self) -> EngineLife | None:
        return next((s for s in self.slots.values() if s.state is State.STARTING), None)

    def _start_gives_way_at(self) -> float:
        start = self._starting
        if start is None:
            return inf
        room = self._room()
        waiting = waiting_models(self.slots.values(), self._now)
        fit = (slot for slot in waiting if not self._unfit(slot, room))
        return gives_way_at(start, fit, self.limits)

    def _room(self) -> Capacity:
        return unpinned(self.slots.values(), self.limits, self.written_off)

    def _unfit(self, slot: Slot, room: Capacity) -> RouterError | None:
        return unfit(slot, room, self.limits, self.written_off)

    # --- the plan --------------------------------------------------------------------

    def _plan(self, event: events.Event) -> Plan:
        free = event.free if isinstance(event, events.Measured) else None
        slots = self.slots.values()
        decided = plan(
            slots, self.limits, self.written_off, free, self._now, starts=self._starts
        )
        waiting = any(slot.queue for slot in self.slots.values())
        if free is not None and decided.start is None and waiting:
            return replace(decided, wake_at=min(decided.wake_at, self._now + REMEASURE))
        return decided

    def _follow(self, decided: Plan) -> list[actions.Action]:
        slots, now = self.slots, self._now
        done: list[actions.Action] = [actions.Measure()] if decided.measure else []
        for slot, error in decided.reject:
            done += slots[slot.key].fail(error)
        if decided.drain is not None:
            done += self._drain_or_revive(decided.drain, decided.evict)
        if decided.start is not None:
            whole = decided.start.claim >= self.limits.budget - self.written_off
            done.append(slots[decided.start.key].start(decided.free, now, whole=whole))
        if decided.evict is not None:
            done.append(slots[decided.evict.key].evict(now))
        if decided.expire is not None:
            done.append(slots[decided.expire.key].expire(now))
        return done

    def _drain_or_revive(
        self, drain: tuple[Slot, ...], evict: Slot | None
    ) -> list[actions.Action]:
        done: list[actions.Action] = []
        for slot in self.slots.values():
            if slot in drain:
                slot.drain(self._now)
            elif slot.state is State.DRAINING and slot is not evict:
                done += slot.revive(self._now)
        return done
