"""Which engines may stop for a model that waits, in the order in which they would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from router.scheduler.company import may_bar
from router.scheduler.lifecycle import State
from router.scheduler.state import Slot
from router.scheduler.view import View


class Candidates:
    """Of one plan."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._spoken_for: set[Slot] = set()  # engines that make room for a model before

    def speak_for(self, victims: Iterable[Slot]) -> None:
        """These make room for a model, and for none behind it."""
        self._spoken_for.update(victims)

    def of(self, slot: Slot, *, first: bool, barring: bool = False) -> Iterator[Slot]:
        """The engines that may stop for `slot`, in the order in which they would. `barring`:
        also those that other callers hold, if no others can make way by the rules of groups."""
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
        """The engines that could go at once, those that drain first."""
        return list(self._in_order(self._evictable[False]))

    def _wanted(self) -> Iterator[Slot]:
        """The engines that answer requests, or are to wake for some."""
        return self._in_order(self._evictable[True])

    def _in_order(self, slots: list[Slot]) -> Iterator[Slot]:
        yield from self._view.by_loss(one for one in slots if one.state is State.DRAINING)
        yield from self._view.by_loss(one for one in slots if one.state is not State.DRAINING)

    @cached_property
    def _evictable(self) -> dict[bool, list[Slot]]:
        """By whether they are wanted."""
        found: dict[bool, list[Slot]] = {False: [], True: []}
        for state in (State.READY, State.DRAINING, State.ASLEEP):
            for slot in self._view.roster.in_state(state).values():
                if not slot.pinned:
                    found[_is_wanted(slot)].append(slot)
        return found

    def _goes_first(self, victim: Slot, slot: Slot) -> bool:
        """Whether a request for `victim` goes before those for `slot`, so that it would only
        start again."""
        return bool(victim.queue) and self._view.turn(victim) < self._view.turn(slot)


def _bars(slot: Slot, victim: Slot) -> bool:
    return victim.loaded and may_bar(slot.spec.group, victim.spec.group)


def _is_wanted(victim: Slot) -> bool:
    """Whether it answers requests, or sleeps and is to wake for some."""
    return not victim.idle or (victim.state is State.ASLEEP and bool(victim.queue))
