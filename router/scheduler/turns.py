"""Decides which waiting caller gets the next free place of an engine.

Nothing here scans all waiting callers: there may be tens of thousands, and each answer frees a
place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import heapify, heappop, heappush, heapreplace

from router.scheduler.events import Wanted
from router.scheduler.waiting import Caller, Line

_SPARE = 64  # outdated entries, in addition to one per waiting caller
_RECENT = 256  # how many turns of callers that no longer wait are remembered

# Requests in flight, number of the last turn, age and number of the oldest request, caller.
_Place = tuple[int, int, int, int, Caller]


class TurnOrder:
    """The order in which waiting requests get the places of their engine.

    The next request is the oldest one of the caller with the fewest requests in flight. If
    there are several such callers, it is the one whose last turn is longest ago. If they had no
    turn since requests began to wait, or only long ago, the older request is next. Without the
    turns, age alone would decide among callers with equally many requests in flight, and a
    caller with a long backlog would get every turn of an engine with one place.

    It must be notified of changes that move a caller forward. It notices changes that move one
    back when that caller's turn comes. `leases`: the requests in flight, by waiter.
    """

    __slots__ = ("_heap", "_held", "_known", "_last", "_leases", "_line", "_turns")

    def __init__(
        self, line: Line, leases: Mapping[int, Wanted], last: dict[Caller, int] | None = None
    ) -> None:
        """`last`: the number of each caller's last turn."""
        self._line, self._leases = line, leases
        self._last = {} if last is None else last
        self._turns = 0
        # If False, the order is computed when it is needed.
        self._known = False
        self._held: Counter[Caller] = Counter()  # requests in flight
        self._heap: list[_Place] = []  # at least one entry per waiting caller

    def begin(self, latest: Caller) -> None:
        """Requests begin to wait. `latest`: the caller that got a place most recently."""
        self.forget()
        self._last.clear()
        self._turns += 1
        self._last[latest] = self._turns

    def forget(self) -> None:
        """Drop the computed order: the engine or the line has changed without notice."""
        self._known = False
        self._heap.clear()
        self._held.clear()

    def comes(self, request: Wanted) -> None:
        """Note a new request in the line."""
        if self._known and self._line.oldest_of(request.caller) is request:
            self._push(request.caller)

    def ended(self, caller: Caller) -> None:
        """Note that a request of this caller is no longer in flight."""
        if self._known:
            self._held[caller] -= 1
            self._push(caller)

    def took(self, caller: Caller) -> None:
        """Note that the request whose turn it was has left the line and is in flight."""
        self._turns += 1
        self._last[caller] = self._turns
        self._held[caller] += 1
        if len(self._last) > 2 * (len(self._line.callers) + _RECENT):
            # Some queues never get empty, and each request may come from a new caller.
            self.forget()

    def next(self, most: int | None) -> Wanted | None:
        """Return the request whose turn it is, or None.

        `most`: how many requests one caller may have in flight; None: as many as there are
        places. If the next caller already has that many, so do all others.
        """
        if not self._known:
            self._make()
        heap = self._heap
        while heap:
            entry = heap[0]
            held, _, _, waiter, caller = entry
            place = self._place(caller)
            if place == entry:
                if most is not None and held >= most:
                    return None
                return self._line[waiter]
            if place is None or place < entry:  # it no longer waits, or has a better entry
                heappop(heap)
            else:
                heapreplace(heap, place)
        return None

    def differs(self) -> bool:
        """Whether a newly computed order would choose another request."""
        fresh = TurnOrder(self._line, self._leases, self._last)
        return self.next(None) is not fresh.next(None)

    def _place(self, caller: Caller) -> _Place | None:
        oldest = self._line.oldest_of(caller)
        if oldest is None:
            return None
        last = self._last.get(caller, 0)
        return self._held[caller], last, oldest.age, oldest.waiter, caller

    def _push(self, caller: Caller) -> None:
        place = self._place(caller)
        if place is None:
            return
        if len(self._heap) > 2 * len(self._line.callers) + _SPARE:
            self._make()
        else:
            heappush(self._heap, place)

    def _make(self) -> None:
        self._known = True
        recent, waiting = self._turns - _RECENT, self._line.callers
        self._last = {
            one: turn for one, turn in self._last.items() if turn > recent or one in waiting
        }
        self._held = Counter(request.caller for request in self._leases.values())
        self._heap = [place for one in self._line.callers if (place := self._place(one))]
        heapify(self._heap)
