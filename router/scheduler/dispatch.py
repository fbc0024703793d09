"""Handles requests: grants, queues or refuses them, and notes when they end."""

from __future__ import annotations

from router.errors import RouterError
from router.scheduler import actions, events, rejections
from router.scheduler.engine_life import SHORT_COOL_DOWN, EngineLife
from router.scheduler.lifecycle import State
from router.scheduler.predictions import place_in
from router.scheduler.quotas import Quotas
from router.scheduler.scheduler_state import SchedulerState
from router.scheduler.state import Slot


class Dispatch:
    """The part of a pass that handles requests."""

    def __init__(self, state: SchedulerState, quotas: Quotas) -> None:
        self._state, self._quotas = state, quotas
        self._limits, self._places = state.limits, state.shared.places

    def wanted(
        self, request: events.Wanted, now: float
    ) -> tuple[EngineLife, list[actions.Action]]:
        """Return the slot of the request's model, and the actions."""
        state, key = self._state, request.spec.key
        slot = state.slots.get(key)
        if slot is None:
            slot = state.slots[key] = EngineLife(request.spec, state.shared)
        state.changed[slot] = None
        slot.note(request, now)
        if (granted := slot.serve(request, now)) is not None:
            state.holders[request.waiter] = slot
            return slot, [granted]
        if error := slot.refusal(request, now):
            return slot, [actions.Fail(request.waiter, error)]
        made_room: list[actions.Action] = []
        on_trial = slot.suspicion.active(now)  # then it may have to wait its turn
        served = not on_trial and slot.accepts(request.caller, self._limits)
        if slot.yielded_by_quota or not served:
            state.configure(slot, request.spec, now)
            if error := self._admit(slot, request, now, served=served):
                return slot, [actions.Fail(request.waiter, error)]
            made_room = [] if served else self._make_room(slot, request, now)
        state.holders[request.waiter] = slot
        return slot, [*made_room, *slot.enqueue(request, now)]

    def released(
        self, event: events.Released | events.Left, now: float, *, answered: bool | None
    ) -> tuple[EngineLife | None, list[actions.Action]]:
        """Return the slot that the request held or waited for, if any, and the actions.
        `answered` is None if the caller left."""
        state, waiter = self._state, event.waiter
        slot = state.holders.pop(waiter, None)
        if slot is None:
            return None, []
        state.changed[slot] = None
        slot.note(event, now)
        return slot, slot.release(waiter, now, answered=answered)

    def _admit(
        self, slot: EngineLife, request: events.Wanted, now: float, *, served: bool
    ) -> RouterError | None:
        """Refuse a request that must wait, or charge it to its caller's quotas."""
        if error := self._refusal(slot, request, now, served=served):
            return error
        ruling = self._quotas.rule(slot, request, now, served=served)
        for key in ruling.yields:
            self._state.change(self._state.slots[key]).yield_by_quota()
        if ruling.starts:
            slot.belong_to(request.caller)
            self._quotas.charge_start(request.caller, now)
        return ruling.error

    def _refusal(
        self, slot: Slot, request: events.Wanted, now: float, *, served: bool
    ) -> RouterError | None:
        if self._state.shutting_down:
            return rejections.shutting_down()
        if slot.retry_at - now > SHORT_COOL_DOWN:
            return rejections.cooling_down(slot, now)
        if slot.state is State.FETCHING and request.credential_digest in slot.refused:
            return slot.refused[request.credential_digest]
        if not slot.state.claims and (error := self._state.view(now).unfit(slot)):
            return error
        if served or request.retried:
            return None
        if slot.line_is_full:  # a place in this line also counts in the whole queue
            hopeless = slot.queue.given_up_for(request.caller) is None
            refused = rejections.model_queue_full
        else:
            hopeless = self._full and self._places.given_up_for(request.caller) is None
            refused = rejections.queue_full
        return refused(place_in(self._state.view(now))) if hopeless else None

    @property
    def _full(self) -> bool:
        return self._places.taken >= self._limits.max_queue

    def _make_room(
        self, slot: Slot, request: events.Wanted, now: float
    ) -> list[actions.Action]:
        """If all places are taken, free one that belongs to a caller with too many."""
        if request.retried or not (self._full or slot.line_is_full):
            return []
        places = slot.queue if slot.line_is_full else self._places
        last = places.given_up_for(request.caller)
        assert last is not None  # noqa: S101 else `_refusal` has refused the request
        holder = self._state.change(self._state.holders[last.waiter])
        return holder.refuse(last.waiter, rejections.place_given_up(), now)
