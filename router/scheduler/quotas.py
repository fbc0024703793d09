"""Per-caller quotas, so that one caller's use does not cost the others.

A start is charged to the caller that causes it, not to callers that join it. Bytes are charged
to the caller that downloads them. A model counts as a caller's own until another caller uses
it. Callers are remembered only while something counts against them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler import rejections
from router.scheduler.events import Wanted
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.state import Slot
from router.scheduler.waiting import QueuePlaces

MINUTE, HOUR = 60.0, 3600.0  # seconds

_DOWN = (State.COLD, State.FETCHING, State.FETCHED, State.STOPPING)
_LOADED = (State.FETCHING, State.STARTING, State.READY, State.DRAINING)  # or being loaded


class Window:
    """A sum per caller over the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self._span = span
        # In the order of each caller's last charge, so the first ones expire first.
        self._charges: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._charges)

    def add(self, caller: str, amount: int, now: float) -> None:
        charges = self._charges.pop(caller, None) or deque()
        charges.append((now, amount))
        self._charges[caller] = charges
        first = takewhile(lambda one: self._is_over(one[1], now), self._charges.items())
        for other, _ in list(first):
            del self._charges[other]

    def _is_over(self, charges: deque[tuple[float, int]], now: float) -> bool:
        return not charges or charges[-1][0] + self._span <= now

    def opens_in(self, caller: str, limit: int | None, now: float) -> float:
        """Seconds until the sum is below the limit; 0.0 if it already is."""
        charges = self._charges.get(caller)
        if charges is None or limit is None:
            return 0.0
        while charges and charges[0][0] + self._span <= now:
            charges.popleft()
        total, wait = sum(amount for _, amount in charges), 0.0
        for at, amount in charges:
            if total < limit:
                break
            total, wait = total - amount, at + self._span - now
        return wait


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision of the quotas about one request."""

    error: RouterError | None = None  # why the request is refused
    starts: bool = False  # whether the request causes its model's start
    yields: tuple[EngineKey, ...] = ()  # engines of the same caller that yield to its model


class Quotas:
    """The quota rules. Reads the slots, and keeps the sums that are charged to callers."""

    def __init__(
        self, limits: Limits, slots: Mapping[EngineKey, Slot], places: QueuePlaces
    ) -> None:
        self._limits, self._slots, self._places = limits, slots, places
        self._starts, self._bytes = Window(MINUTE), Window(HOUR)

    def rule(self, slot: Slot, request: Wanted, now: float, *, served: bool) -> Ruling:
        """Decide about a request. `served`: it gets an engine at once and does not wait.

        A retried request is never refused, and is not charged again.
        """
        caller, starts = request.caller, _starts_with(slot) and not request.retried
        if caller is None:
            return Ruling(starts=starts)
        yields = self._yields(slot, caller)
        if not request.retried:
            error = self._refusal(slot, caller, now, served=served)
            if error is None and yields is None:
                error = rejections.over_models()
            if error is not None:
                return Ruling(error)
        return Ruling(None, starts, tuple(other.key for other in yields or ()))

    def charge_start(self, caller: str | None, now: float) -> None:
        if caller is not None and self._limits.max_starts_per_caller is not None:
            self._starts.add(caller, 1, now)

    def charge_bytes(self, caller: str, size: int, now: float) -> None:
        if self._limits.max_download_per_caller is not None:
            self._bytes.add(caller, size, now)

    def _refusal(
        self, slot: Slot, caller: str, now: float, *, served: bool
    ) -> RouterError | None:
        limits = self._limits
        if not served and self._over_places(caller):
            return rejections.over_places()
        if _starts_with(slot):
            if wait := self._starts.opens_in(caller, limits.max_starts_per_caller, now):
                return rejections.over_starts(wait)
            wait = self._bytes.opens_in(caller, limits.max_download_per_caller, now)
            if slot.state is State.COLD and wait:
                return rejections.over_download(wait)
        return None

    def _over_places(self, caller: str) -> bool:
        limit = self._limits.max_queue_per_caller
        return limit is not None and self._places.of(caller) >= limit

    def _yields(self, slot: Slot, caller: str) -> list[Slot] | None:
        """The caller's engines that yield to this one; None if too few can."""
        limit = self._limits.max_models_per_caller
        if limit is None or not (slot.yielded_by_quota or _starts_with(slot)):
            return []
        own = [other for other in self._own(caller) if other is not slot]
        excess = len(own) + 1 - limit
        if excess <= 0:
            return []
        idle = [other for other in own if other.unused and not other.pinned]
        idle.sort(key=lambda other: other.last_used)
        return idle[:excess] if excess <= len(idle) else None

    def _own(self, caller: str) -> Iterator[Slot]:
        """The models that are loaded or being loaded for this caller alone."""
        for slot in self._slots.values():
            loaded = slot.state in _LOADED or slot.queue
            if slot.starter == caller and loaded and not slot.yielded_by_quota:
                yield slot


def _starts_with(slot: Slot) -> bool:
    """Whether the next request for this model causes its start."""
    return slot.state in _DOWN and not slot.queue
