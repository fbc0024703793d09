"""Handles all events except requests: reports of actions, the operator's commands, and timers.

They change slots. The plan decides about the consequences for other models.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.scheduler import actions, events
from router.scheduler.engine_life import EngineLife
from router.scheduler.forecast import NO_DOWNLOAD
from router.scheduler.group_rules import stays, surplus
from router.scheduler.lifecycle import State
from router.scheduler.placement import of_each
from router.scheduler.predictions import Forecasts
from router.scheduler.quotas import Quotas
from router.scheduler.scheduler_state import SchedulerState


class Updates:
    """The part of a pass that handles all events except requests."""

    def __init__(self, state: SchedulerState, quotas: Quotas, forecasts: Forecasts) -> None:
        self._state, self._quotas, self._forecasts = state, quotas, forecasts

    def take_in(self, event: events.Event, now: float) -> list[actions.Action]:
        """Change the affected slots and return the actions."""
        state = self._state
        match event:
            case events.Tick():
                return self._tick(now)
            case events.Unload(key) | events.Pin(key) | events.Unpin(key):
                if key not in state.slots or state.shutting_down:
                    return []
                done = _operate(state.change(state.slots[key]), event, now)
                return done + self._part(now)
            case events.Downloaded(caller, size):
                self._quotas.charge_bytes(caller, size, now)
            case _ if isinstance(event, events.Report):
                return self._reported(event, now)
            case _:
                return self._advance_all(event, now)
        return []

    def _tick(self, now: float) -> list[actions.Action]:
        state = self._state
        due = state.index.due(now)
        # Compute all forecasts first: handling one slot changes those of others.
        waits = {
            slot.key: self._forecasts.of(slot, state.view(now), NO_DOWNLOAD)
            for slot in due
            if now >= slot.queue.next_deadline
        }
        return [
            done for slot in due for done in state.change(slot).tick(now, waits.get(slot.key))
        ]

    def _part(self, now: float) -> list[actions.Action]:
        """Unload engines that may no longer be loaded together, idle and least valuable ones
        first. Requests in flight finish, and waiting requests get the next start."""
        state = self._state
        if state.shutting_down:
            return []
        state.file(now)
        stay = [one for one in state.index.engines if stays(one)]
        by_loss = list(state.view(now).by_loss(one for one in stay if not one.pinned))
        ordered = [one for one in stay if one.pinned]
        for idle in (False, True):
            ordered += [one for one in reversed(by_loss) if one.idle is idle]
        return [
            done
            for slot, bar in surplus(ordered)
            for done in state.change(slot).unload(now, parted_by=bar.name)
        ]

    def _advance_all(self, event: events.Event, now: float) -> list[actions.Action]:
        """Handle an event that may concern every model."""
        state = self._state
        slots = tuple(state.slots.values())
        match event:
            case events.ShutDown(deadline):
                state.shut_down()
                return [
                    done
                    for slot in slots
                    for done in state.change(slot).shut_down(deadline, now)
                ]
            case events.Learned(facts):
                for fact in facts:
                    state.shared.history.learn(fact)
            case events.Ruled(specs):
                known = [one for one in specs if one.key in state.slots]
                done = [
                    done
                    for one in known
                    for done in state.change(state.slots[one.key]).rule(one, now)
                ]
                return done + self._part(now)
            case events.Thawed():
                return [done for slot in slots for done in state.change(slot).probe()]
            case events.ForgetSnapshot(repo_id, commit):
                return [
                    done
                    for slot in slots
                    if (slot.key.repo_id, slot.key.commit) == (repo_id, commit)
                    for done in state.change(slot).forget_snapshot(now)
                ]
        return []  # the plan of this pass uses `Measured`

    def _reported(self, event: events.Report, now: float) -> list[actions.Action]:
        state = self._state
        if isinstance(event, events.Gone):
            state.ending.discard(event.generation)
        if event.key not in state.slots:
            return []
        slot = state.change(state.slots[event.key])
        before = slot.state
        done = slot.report(event, now)
        if isinstance(event, events.Described | events.Fetched | events.Gone):
            state.configure(slot, slot.latest, now)
        if slot.state is State.FETCHING and slot.described:
            error = state.view(now).unfit(slot)
            done += slot.give_up_fetch(error, now) if error else []
        if isinstance(event, events.Gone | events.Asleep) and slot.state is not before:
            done += self._write_off(of_each(event.missing, event.others, slot.devices), now)
        return done

    def _write_off(self, missing: Mapping[int, int], now: float) -> list[actions.Action]:
        """Stop using device memory that was not freed."""
        state = self._state
        alarms: list[actions.Action] = []
        before = state.lost.copy()
        for device, size in missing.items():
            if size > state.lost[device]:
                of = f" of device {device}" if state.limits.devices > 1 else ""
                alarms.append(
                    actions.Alarm(f"{size} bytes of accelerator memory{of} are missing.")
                )
            state.lost[device] = size
        if state.lost != before:
            for slot in state.slots.values():  # a claim may be a share of what is left
                state.configure(state.change(slot), slot.latest, now)
        return alarms


def _operate(slot: EngineLife, event: events.Event, now: float) -> list[actions.Action]:
    """Carry out the operator's command."""
    slot.note(event, now)
    match event:
        case events.Unload():
            return slot.unload(now)
        case events.Pin():
            return slot.pin_down(now)
    slot.unpin(now)
    return []
