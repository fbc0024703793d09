"""Whose turn it is to get a free place of an engine, while several callers wait for it.

Nothing here looks at every caller that waits: there may be tens of thousands, and a place
becomes free with each answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import heapify, heappop, heappush, heapreplace

from router.scheduler.events import Wanted
from router.scheduler.waiting import Caller, Line

_SPARE = 64  # entries out of date, beyond one for each caller that waits
_RECENT = 256  # turns that are remembered of callers that wait no more

# Requests in flight, number of the last turn, age and number of the oldest request; the caller.
_Place = tuple[int, int, int, int, Caller]


class TurnOrder:
    """The order in which the requests of a line get the places of their engine.

    The next is the oldest request of the caller with the fewest requests in flight there; of
    several such callers, of the one that had no turn for longest; of those that had none since
    requests began to wait, or only long ago, the one whose request is older. Without the turns,
    callers with as many requests in flight would be told apart by age alone: a caller with a
    long backlog would have every turn of an engine with one place.

    It is told of what may bring a caller forward; what puts one back is found out when it is
    its turn. `leases`: what is in flight, by waiter.
    """

    __slots__ = ("_heap", "_held", "_known", "_last", "_leases", "_line", "_turns")

    def __init__(
        self, line: Line, leases: Mapping[int, Wanted], last: dict[Caller, int] | None = None
    ) -> None:
        """`last`: the number of each caller's last turn."""
        self._line, self._leases = line, leases
        self._last = {} if last is None else last
        self._turns = 0
        # Where it is not known, the order is made when it is asked for.
        self._known = False
        self._held: Counter[Caller] = Counter()  # requests in flight
        self._heap: list[_Place] = []  # at least one entry for each caller that waits

    def begin(self, latest: Caller) -> None:
        """Requests begin to wait. `latest`: the caller that got a place before that."""
        self.forget()
        self._last.clear()
        self._turns += 1
        self._last[latest] = self._turns

    def forget(self) -> None:
        """Engine or order have changed without a word to this."""
        self._known = False
        self._heap.clear()
        self._held.clear()

    def comes(self, request: Wanted) -> None:
        """A request is in the line."""
        if self._known and self._line.oldest_of(request.caller) is request:
            self._push(request.caller)

    def ended(self, caller: Caller) -> None:
        """A request of this caller is in flight no more."""
        if self._known:
            self._held[caller] -= 1
            self._push(caller)

    def took(self, caller: Caller) -> None:
        """The request whose turn it was has left the line, and is in flight."""
        self._turns += 1
        self._last[caller] = self._turns
        self._held[caller] += 1
        if len(self._last) > 2 * (len(self._line.callers) + _RECENT):
            # Some queues never get empty, and each request of theirs may have a new caller.
            self.forget()

    def next(self, most: int | None) -> Wanted | None:
        """The request whose turn it is. `most`: requests that one caller may have in flight;
        None: as many as there are places. If even the next has as many, so have all others."""
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
            if place is None or place < entry:  # it waits no more, or has another entry
                heappop(heap)
            else:
                heapreplace(heap, place)
        return None

    def differs(self) -> bool:
        """Whether it is another request's turn than in an order that is made anew."""
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
