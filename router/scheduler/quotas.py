"""What one caller may take of the worker, so that it costs the others nothing.

A start is charged to the caller whose request causes it, not to those who join; bytes to
the caller for whom they come. A model counts as a caller's own until another uses it.
Memory is bounded: callers are remembered only while something counts against them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler import rejections
from router.scheduler.events import Wanted
from router.scheduler.lifecycle import State
from router.scheduler.planner import retirable
from router.scheduler.slots import Limits, Slot

MINUTE, HOUR = 60.0, 3600.0  # seconds

_DOWN = (State.COLD, State.FETCHING, State.FETCHED, State.STOPPING)
_UP = (State.FETCHING, State.STARTING, State.READY, State.DRAINING)


class Window:
    """A sum for each caller, over the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self._span = span
        # The caller who was last charged is last, so that those to forget come first.
        self._charges: dict[str, deque[tuple[float, int]]] = {}

    def __len__(self) -> int:
        return len(self._charges)

    def add(self, caller: str, amount: int, now: float) -> None:
        charges = self._charges.pop(caller, None) or deque()
        charges.append((now, amount))
        self._charges[caller] = charges
        for other, theirs in tuple(self._charges.items()):
            if theirs and theirs[-1][0] + self._span > now:
                break
            del self._charges[other]

    def opens_in(self, caller: str, limit: int | None, now: float) -> float:
        """Seconds until the sum is below the limit; 0.0 where it is."""
        charges = self._charges.get(caller)
        if charges is None or limit is None:
            return 0.0
        while charges and charges[0][0] + self._span <= now:
            charges.popleft()
        left, wait = sum(amount for _, amount in charges), 0.0
        for at, amount in charges:
            if left < limit:
                break
            left, wait = left - amount, at + self._span - now
        return wait


class Quotas:
    """Asked before a request is taken in, and told after. Changes no engine's state."""

    def __init__(self, limits: Limits, slots: Mapping[EngineKey, Slot]) -> None:
        self._limits, self._slots = limits, slots
        self._starts, self._bytes = Window(MINUTE), Window(HOUR)

    def refusal(
        self, slot: Slot, event: Wanted, now: float, *, served: bool
    ) -> RouterError | None:
        """Why this caller may not have this as well; `served`: it needs no place to wait."""
        caller, limits = event.caller, self._limits
        if caller is None:
            return None
        if not served and self._over_places(caller):
            return rejections.over_places()
        if _starts_with(slot):
            if wait := self._starts.opens_in(caller, limits.max_starts_per_caller, now):
                return rejections.over_starts(wait)
            wait = self._bytes.opens_in(caller, limits.max_download_per_caller, now)
            if slot.state is State.COLD and wait:
                return rejections.over_download(wait)
        if self._to_give_up(slot, caller, now) is None:
            return rejections.over_models()
        return None

    def charge(self, slot: Slot, event: Wanted, now: float) -> None:
        """Count what was not refused, and choose what the caller gives up for it."""
        caller = event.caller
        for given_up in (caller and self._to_give_up(slot, caller, now)) or ():
            given_up.yielded_by_quota = True
        if not _starts_with(slot) or event.age != event.waiter:
            return
        slot.starter, slot.yielded_by_quota = caller, False
        if caller is not None and self._limits.max_starts_per_caller is not None:
            self._starts.add(caller, 1, now)

    def downloaded(self, caller: str, size: int, now: float) -> None:
        if self._limits.max_download_per_caller is not None:
            self._bytes.add(caller, size, now)

    def _over_places(self, caller: str) -> bool:
        limit = self._limits.max_queue_per_caller
        if limit is None:
            return False
        waiting = (w for slot in self._slots.values() for w in slot.queue.values())
        return sum(waiter.caller == caller for waiter in waiting) >= limit

    def _to_give_up(self, slot: Slot, caller: str, now: float) -> list[Slot] | None:
        """The caller's engines that end for this one; None where they can't."""
        limit = self._limits.max_models_per_caller
        if limit is None or not (slot.yielded_by_quota or _starts_with(slot)):
            return []
        own = [other for other in self._own(caller) if other is not slot]
        over = len(own) + 1 - limit
        if over <= 0:
            return []
        idle = [other for other in retirable(own, self._limits, now) if other.unused]
        return idle[:over] if over <= len(idle) else None

    def _own(self, caller: str) -> Iterator[Slot]:
        """The models that are up, or on their way, for this caller alone."""
        for slot in self._slots.values():
            held = slot.state in _UP or slot.queue
            if slot.starter == caller and held and not slot.yielded_by_quota:
                yield slot


def _starts_with(slot: Slot) -> bool:
    """Whether the next request for it is the one that has it started."""
    return slot.state in _DOWN and not slot.queue
