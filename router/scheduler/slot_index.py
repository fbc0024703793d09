"""The slots of all known models, with an index for each question of a pass.

A pass must not scan all known models or all waiting requests, because there may be thousands.
After each change of a slot, `file` updates the indices.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import chain, count
from math import inf

from router.models import EngineKey, ModelGroup
from router.scheduler.group_rules import LoadedGroups
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.state import Slot
from router.scheduler.waiting import Caller

FORMER = 32  # stopped engines that may be prestarted before a request needs them

_ENGINES = tuple(state for state in State if state.claims)
_LOADING = tuple(state for state in State if state.loading)


@dataclass(frozen=True, slots=True)
class _Filed:
    """The values under which a slot was last indexed."""

    number: int  # distinguishes slots of the same age
    state: State
    place: tuple[int, int] | None = None  # in the line: age and number
    caller: Caller = None  # of its oldest request, if it holds no memory
    due: float = inf
    held: int = 0  # bytes of each of these devices
    devices: tuple[int, ...] = (0,)
    loaded: bool = False
    group: ModelGroup | None = None


class SlotIndex:
    """All slots, also by state, in the order in which they entered their state."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.slots: dict[EngineKey, Slot] = {}
        self.queued: dict[EngineKey, Slot] = {}  # slots with waiting requests
        self.standby: dict[EngineKey, Slot] = {}  # slots with a prestarted process
        self.former: dict[EngineKey, Slot] = {}  # the last to be stopped; files still on disk
        self.pinned: dict[EngineKey, Slot] = {}  # engines that are never evicted
        self.lingering: dict[EngineKey, Slot] = {}  # downloads that no request waits for
        self.described: dict[EngineKey, Slot] = {}  # downloads whose small files are on disk
        self.held = [0] * limits.devices  # bytes of each device held by engines
        self.loaded = 0  # engines
        self.loaded_groups = LoadedGroups()  # the loaded engines by group
        self.waited_for: Counter[str] = Counter()  # by caller; models without an engine
        self._by_state: dict[State, dict[EngineKey, Slot]] = {state: {} for state in State}
        self._filed: dict[EngineKey, _Filed] = {}
        self._line: list[tuple[int, int]] = []  # age, and the number of the slot
        self._numbers = count()
        self._numbered: dict[int, Slot] = {}
        self._due: list[tuple[float, int]] = []  # a heap; most entries are out of date

    @classmethod
    def of(cls, slots: Iterable[Slot], limits: Limits, now: float) -> SlotIndex:
        made = cls(limits)
        for slot in slots:
            made.file(slot, now)
        return made

    def file(self, slot: Slot, now: float) -> None:
        """Update the indices for a slot that is new or has changed."""
        key, state = slot.key, slot.state
        before = self._filed.get(key)
        number = next(self._numbers) if before is None else before.number
        if before is None:
            self.slots[key] = self._by_state[state][key] = self._numbered[number] = slot
            before = _Filed(number, state)
        elif before.state is not state:
            self._move(slot, before.state)
        waits = bool(slot.queue)
        filed = self._filed[key] = _Filed(
            number,
            state,
            (slot.age, number) if waits and slot.startable else None,
            slot.oldest.caller if waits and not state.claims else None,
            slot.due_at(self._limits, now),
            slot.held,
            slot.devices,
            slot.loaded,
            slot.spec.group,
        )
        if slot.held != before.held or slot.devices != before.devices:
            self._hold(before.devices, -before.held)
            self._hold(slot.devices, slot.held)
        self.loaded += slot.loaded - before.loaded
        if slot.loaded is not before.loaded or filed.group is not before.group:
            self.loaded_groups.change(before.group, -before.loaded)
            self.loaded_groups.change(filed.group, slot.loaded)
        self._queue(filed.place, before.place)
        self._count(filed.caller, before.caller)
        _keep(self.queued, slot, here=waits)
        _keep(self.standby, slot, here=slot.standby is not None)
        _keep(self.pinned, slot, here=state.claims and slot.pinned)
        fetches = state is State.FETCHING
        _keep(self.lingering, slot, here=fetches and slot.linger_until is not None)
        _keep(self.described, slot, here=fetches and slot.described)
        if filed.due != before.due and filed.due < inf:
            self._push(filed.due, number)

    def note_use(self, slot: Slot, now: float) -> float:
        """Update the due time after a ready engine took or answered a request while none waits.

        Nothing else in the indices can change. Returns the due time. If it is later now, the
        slot stays indexed under the earlier time; when that comes, nothing is due and the slot
        is indexed again. So a busy engine is indexed only once in a while.
        """
        due = slot.due_at(self._limits, now)
        filed = self._filed[slot.key]
        if due < filed.due:
            self._filed[slot.key] = replace(filed, due=due)
            self._push(due, filed.number)
        return due

    def _hold(self, devices: tuple[int, ...], size: int) -> None:
        for device in devices:
            self.held[device] += size

    def _move(self, slot: Slot, before: State) -> None:
        del self._by_state[before][slot.key]
        self._by_state[slot.state][slot.key] = slot
        if before is State.STOPPING and slot.state is State.FETCHED:
            self.former[slot.key] = slot
            if len(self.former) > FORMER:
                del self.former[next(iter(self.former))]
        else:
            self.former.pop(slot.key, None)

    def _queue(self, place: tuple[int, int] | None, before: tuple[int, int] | None) -> None:
        if place == before:
            return
        if before is not None:
            del self._line[bisect_left(self._line, before)]
        if place is not None:
            insort(self._line, place)

    def _count(self, caller: Caller, before: Caller) -> None:
        if caller == before:
            return
        if before is not None:
            self.waited_for[before] -= 1
            if not self.waited_for[before]:
                del self.waited_for[before]
        if caller is not None:
            self.waited_for[caller] += 1

    def forget(self, slot: Slot) -> None:
        """Drop a slot that nothing needs: no request waits for it, and it has no engine."""
        filed = self._filed.pop(slot.key)
        del self.slots[slot.key], self._by_state[filed.state][slot.key]
        del self._numbered[filed.number]
        self.former.pop(slot.key, None)

    def differences(self, now: float) -> Iterator[str]:
        """Describe each index that differs from the slots."""
        fresh = SlotIndex.of(self.slots.values(), self._limits, now)
        if [slot.key for slot in self.line] != [slot.key for slot in fresh.line]:
            yield "the line of models that wait for room is out of order"
        if self.waited_for != fresh.waited_for:
            yield "the models that callers wait for are miscounted"
        for state in State:
            if self.in_state(state).keys() != fresh.in_state(state).keys():
                yield f"the models that are {state} are not filed as such"
        for index in ("queued", "standby", "pinned", "lingering", "described"):
            if getattr(self, index).keys() != getattr(fresh, index).keys():
                yield f"the models in `{index}` are not those that belong there"
        if (self.held, self.loaded, self.loaded_groups) != (
            fresh.held,
            fresh.loaded,
            fresh.loaded_groups,
        ):
            yield "what all engines hold is miscounted"

    # --- queries of a pass -----------------------------------------------------------

    def in_state(self, state: State) -> dict[EngineKey, Slot]:
        return self._by_state[state]

    @property
    def engines(self) -> Iterator[Slot]:
        """The engines that hold memory of a device."""
        return chain.from_iterable(self._by_state[state].values() for state in _ENGINES)

    @property
    def loading(self) -> set[int]:
        """The devices on which an engine takes or frees memory."""
        found: set[int] = set()
        for state in _LOADING:
            for slot in self._by_state[state].values():
                found.update(slot.devices)
        return found

    @property
    def line(self) -> Iterator[Slot]:
        """The models that wait for room or cool down, oldest turn first."""
        return (self._numbered[number] for _, number in self._line)

    @property
    def settled(self) -> bool:
        """Whether no request waits and no engine drains."""
        return not (self.queued or self._by_state[State.DRAINING])

    @property
    def waiting(self) -> bool:
        return bool(self._line)

    # --- time ------------------------------------------------------------------------

    def next_due(self) -> float:
        """When something becomes due without any event; `inf`: never."""
        while self._due and not self._counts(*self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else inf

    def due(self, now: float) -> list[Slot]:
        """The slots with something due by now."""
        found: dict[int, Slot] = {}
        while self._due and self._due[0][0] <= now:
            at, number = heappop(self._due)
            if self._counts(at, number):
                slot = found[number] = self._numbered[number]
                # It is indexed again after it was handled.
                self._filed[slot.key] = replace(self._filed[slot.key], due=inf)
        return list(found.values())

    def _counts(self, at: float, number: int) -> bool:
        slot = self._numbered.get(number)
        return slot is not None and self._filed[slot.key].due == at

    def _push(self, due: float, number: int) -> None:
        if len(self._due) > 4 * len(self.slots) + 64:
            filed = self._filed.values()
            self._due = [(one.due, one.number) for one in filed if one.due < inf]
            heapify(self._due)
        else:
            heappush(self._due, (due, number))


def _keep(index: dict[EngineKey, Slot], slot: Slot, *, here: bool) -> None:
    if here:
        index[slot.key] = slot
    else:
        index.pop(slot.key, None)
