"""Lists the engines that may stop for a waiting model, in eviction order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from router.scheduler.group_rules import may_bar
from router.scheduler.lifecycle import State
from router.scheduler.state import Slot
from router.scheduler.view import View


class Candidates:
    """The candidates for eviction in one plan."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._spoken_for: set[Slot] = set()  # engines that already make room for another model

    def speak_for(self, victims: Iterable[Slot]) -> None:
        """Reserve these victims: they make room for one model and for no later one."""
        self._spoken_for.update(victims)

    def of(self, slot: Slot, *, first: bool, barring: bool = False) -> Iterator[Slot]:
        """Yield the engines that may stop for `slot`, in eviction order.

        `first`: `slot` is first in line, so busy engines may drain for it. `barring`: include
        engines that other callers hold, if a group rule forbids them beside `slot`.
        """
        holdings = self._view.holdings
        for victim in chain(self._unwanted, self._wanted() if first else ()):
            if victim is slot or victim in self._spoken_for:
                continue
            if victim.state is State.DRAINING or (
                (holdings.may_take(slot, victim) or (barring and _bars(slot, victim)))
                and not (_is_wanted(victim) and self._goes_first(victim, slot))
            ):
                yield victim

    @cached_property
    def _unwanted(self) -> list[Slot]:
        """The engines that nobody needs now, draining ones first."""
        return list(self._in_order(self._evictable[False]))

    def _wanted(self) -> Iterator[Slot]:
        """The engines with requests in flight, and sleeping ones that requests wait for."""
        return self._in_order(self._evictable[True])

    def _in_order(self, slots: list[Slot]) -> Iterator[Slot]:
        yield from self._view.by_loss(one for one in slots if one.state is State.DRAINING)
        yield from self._view.by_loss(one for one in slots if one.state is not State.DRAINING)

    @cached_property
    def _evictable(self) -> dict[bool, list[Slot]]:
        """Engines that may be evicted, keyed by whether they are wanted."""
        found: dict[bool, list[Slot]] = {False: [], True: []}
        for state in (State.READY, State.DRAINING, State.ASLEEP):
            for slot in self._view.index.in_state(state).values():
                if not slot.pinned:
                    found[_is_wanted(slot)].append(slot)
        return found

    def _goes_first(self, victim: Slot, slot: Slot) -> bool:
        """Whether a request that waits for `victim` has an earlier turn than those for `slot`.
        Then `victim` would only have to start again."""
        return bool(victim.queue) and self._view.turn(victim) < self._view.turn(slot)


def _bars(slot: Slot, victim: Slot) -> bool:
    return victim.loaded and may_bar(slot.spec.group, victim.spec.group)


def _is_wanted(victim: Slot) -> bool:
    """Whether it has requests in flight, or sleeps while requests wait for it."""
    return not victim.idle or (victim.state is State.ASLEEP and bool(victim.queue))
