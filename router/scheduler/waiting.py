"""Waiting requests: one line per engine, and the queue places that all lines share.

Both are indexed by caller, so that no decision scans all waiting requests: there may be tens of
thousands. They use `OrderedDict` where requests leave at the front: to find the first entry of
a `dict`, Python skips over all deleted entries.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from itertools import takewhile
from math import inf

from router.scheduler.events import Wanted

Caller = str | None  # None: the operator


class QueuePlaces:
    """The places in the queue, for all engines together."""

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: dict[Caller, OrderedDict[int, Wanted]] = {}  # by waiter
        # Callers by the number of their waiting requests, and the highest such number.
        self._ranks: dict[int, OrderedDict[Caller, None]] = {}
        self._most = 0

    def of(self, caller: Caller) -> int:
        """The number of waiting requests of one caller."""
        return len(self._waiting.get(caller, ()))

    def add(self, request: Wanted) -> None:
        self.taken += 1
        own = self._waiting.get(request.caller)
        if own is None:
            own = self._waiting[request.caller] = OrderedDict()
        own[request.waiter] = request
        self._rank(request.caller, len(own) - 1, len(own))

    def remove(self, request: Wanted) -> None:
        self.taken -= 1
        own = self._waiting[request.caller]
        del own[request.waiter]
        self._rank(request.caller, len(own) + 1, len(own))
        if not own:
            del self._waiting[request.caller]

    def _rank(self, caller: Caller, before: int, after: int) -> None:
        if caller is None:
            return  # the operator's requests never give up their places
        if before:
            rank = self._ranks[before]
            del rank[caller]
            if not rank:
                del self._ranks[before]
        if after:
            self._ranks.setdefault(after, OrderedDict())[caller] = None
        if after > self._most or self._most not in self._ranks:
            self._most = after  # the number changes by one at a time

    def given_up_for(self, caller: Caller) -> Wanted | None:
        """The request that gives up its place for one of `caller` when all places are taken:
        the newest of the caller with the most. None if `caller` would then have as many.

        A retried request keeps its place.
        """
        if self._most < self.of(caller) + 2:
            return None
        greediest = next(iter(self._ranks[self._most]))
        newest_first = reversed(self._waiting[greediest].values())
        return next((request for request in newest_first if not request.retried), None)


class Line(OrderedDict[int, Wanted]):
    """The requests that wait for one engine, by waiter, oldest first.

    It is a mapping itself, because each request to a loaded model tests whether it is empty.
    Change it only by assignment and `del`.
    """

    __slots__ = ("_by_caller", "_deadlines", "_places")

    def __init__(self, places: QueuePlaces | None = None) -> None:
        super().__init__()
        self._places = places or QueuePlaces()
        self._by_caller: OrderedDict[Caller, OrderedDict[int, Wanted]] = OrderedDict()
        self._deadlines: list[tuple[float, int]] = []  # a heap; some have left since

    def __setitem__(self, waiter: int, request: Wanted) -> None:
        self._places.add(request)
        _insert(self, request)
        own = self._by_caller.get(request.caller)
        if own is None:
            own = self._by_caller[request.caller] = OrderedDict()
        _insert(own, request)
        if len(self._deadlines) > 2 * len(self):
            self._deadlines = [(one.deadline, one.waiter) for one in self.values()]
            heapify(self._deadlines)
        else:
            heappush(self._deadlines, (request.deadline, waiter))

    def __delitem__(self, waiter: int) -> None:
        request = self[waiter]
        super().__delitem__(waiter)
        own = self._by_caller[request.caller]
        del own[waiter]
        if not own:
            del self._by_caller[request.caller]
        self._places.remove(request)

    @property
    def next_deadline(self) -> float:
        """When the next of these requests stops waiting; `inf` if none waits."""
        while self._deadlines and self._deadlines[0][1] not in self:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else inf

    def overdue(self, now: float) -> list[int]:
        """The requests whose deadline has passed, oldest first."""
        heap, found, look = self._deadlines, set[int](), [0]
        while look:
            at = look.pop()
            if at >= len(heap) or heap[at][0] > now:
                continue  # so are all entries below it in the heap
            look += (2 * at + 1, 2 * at + 2)
            waiter = heap[at][1]
            if waiter in self and self[waiter].deadline <= now:
                found.add(waiter)
        return sorted(found, key=lambda waiter: self[waiter].age)

    @property
    def callers(self) -> Collection[Caller]:
        return self._by_caller.keys()

    def by_caller(self) -> Counter[Caller]:
        """The number of waiting requests of each caller."""
        return Counter({caller: len(own) for caller, own in self._by_caller.items()})

    def given_up_for(self, caller: Caller) -> Wanted | None:
        """Like `QueuePlaces.given_up_for`, for when this line is full."""
        others = {one: own for one, own in self._by_caller.items() if one is not None}
        greediest = max(others.values(), key=len, default=OrderedDict[int, Wanted]())
        if len(greediest) < len(self._by_caller.get(caller, ())) + 2:
            return None
        newest_first = reversed(greediest.values())
        return next((request for request in newest_first if not request.retried), None)

    def oldest_of(self, caller: Caller) -> Wanted | None:
        return next(iter(self._by_caller.get(caller, {}).values()), None)


def _insert(line: OrderedDict[int, Wanted], request: Wanted) -> None:
    """Insert a request by its age: at the end, unless it is a retry.

    This calls `OrderedDict.__setitem__`, because `Line.__setitem__` calls this function.
    """
    late = bool(line) and request.age < next(reversed(line.values())).age
    OrderedDict.__setitem__(line, request.waiter, request)
    if late:  # few requests are older than a retried one
        older = takewhile(lambda one: one.age <= request.age, line.values())
        for waiter in reversed([*(one.waiter for one in older), request.waiter]):
            line.move_to_end(waiter, last=False)
