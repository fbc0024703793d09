"""Waiting requests: one line for each engine, and the queue places that all lines share.

Both are kept by caller, so that no decision looks at every waiting request: there may be
tens of thousands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import inf

from router.scheduler.events import Wanted

Caller = str | None  # None: the operator


class QueuePlaces:
    """The places in the queue, for all engines together."""

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: dict[Caller, dict[int, Wanted]] = {}  # by waiter
        # Callers by the number of their waiting requests, and the highest such number.
        self._ranks: dict[int, dict[Caller, None]] = {}
        self._most = 0

    def of(self, caller: Caller) -> int:
        """How many requests of one caller wait."""
        return len(self._waiting.get(caller, ()))

    def add(self, request: Wanted) -> None:
        self.taken += 1
        own = self._waiting.setdefault(request.caller, {})
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
            return  # the operator's own requests give no place up
        if before:
            rank = self._ranks[before]
            del rank[caller]
            if not rank:
                del self._ranks[before]
        if after:
            self._ranks.setdefault(after, {})[caller] = None
        if after > self._most or self._most not in self._ranks:
            self._most = after  # it changes by one at a time

    def given_up_for(self, caller: Caller) -> Wanted | None:
        """The request that makes room for one of `caller` where all places are taken: the
        newest of the caller with the most. None where `caller` would have as many.

        A request that is tried again keeps its place.
        """
        if self._most < self.of(caller) + 2:
            return None
        greediest = next(iter(self._ranks[self._most]))
        newest_first = reversed(self._waiting[greediest].values())
        return next((request for request in newest_first if not request.retried), None)


class Rounds:
    """When each caller last got a place of one engine, while requests wait for it.

    Without it, callers with as many requests in flight are told apart by age alone: a caller
    with a long backlog would have every turn of an engine with one place.
    """

    __slots__ = ("_last", "_turns")

    def __init__(self) -> None:
        self._last: dict[Caller, int] = {}
        self._turns = 0

    def took(self, caller: Caller) -> None:
        self._turns += 1
        self._last[caller] = self._turns

    def last(self, caller: Caller) -> int:
        """The number of the caller's last turn; 0: it had none."""
        return self._last.get(caller, 0)

    def begin(self, latest: Caller) -> None:
        """Requests begin to wait. `latest`: the caller that got a place before that."""
        self._last.clear()
        self.took(latest)


class Line(dict[int, Wanted]):
    """The requests that wait for one engine, by waiter, the oldest first.

    A dict, because each request of a loaded model asks whether it is empty. It changes by
    assignment and `del` alone.
    """

    __slots__ = ("_by_caller", "_deadlines", "_places")

    def __init__(self, places: QueuePlaces | None = None) -> None:
        super().__init__()
        self._places = places or QueuePlaces()
        self._by_caller: dict[Caller, dict[int, Wanted]] = {}
        self._deadlines: list[tuple[float, int]] = []  # a heap; some have left since

    def __setitem__(self, waiter: int, request: Wanted) -> None:
        self._places.add(request)
        _insert(self, request)
        _insert(self._by_caller.setdefault(request.caller, {}), request)
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
        """When the next of these requests stops waiting; `inf`: none waits."""
        while self._deadlines and self._deadlines[0][1] not in self:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else inf

    def overdue(self, now: float) -> list[int]:
        """The requests whose deadline has come."""
        if now < self.next_deadline:
            return []
        return [one.waiter for one in self.values() if now >= one.deadline]

    @property
    def callers(self) -> Iterable[Caller]:
        return self._by_caller.keys()

    def by_caller(self) -> Counter[Caller]:
        """How many requests of each caller wait."""
        return Counter({caller: len(own) for caller, own in self._by_caller.items()})

    def given_up_for(self, caller: Caller) -> Wanted | None:
        """As `QueuePlaces.given_up_for`, where this line has no more places."""
        others = {one: own for one, own in self._by_caller.items() if one is not None}
        greediest = max(others.values(), key=len, default={})
        if len(greediest) < len(self._by_caller.get(caller, ())) + 2:
            return None
        newest_first = reversed(greediest.values())
        return next((request for request in newest_first if not request.retried), None)

    def oldest_of(self, caller: Caller) -> Wanted | None:
        return next(iter(self._by_caller.get(caller, {}).values()), None)


def _insert(line: dict[int, Wanted], request: Wanted) -> None:
    """Add a request at the place of its age: the last, unless it had a place before.

    It is a dict's own assignment: that of `Line` calls this.
    """
    late = bool(line) and request.age < next(reversed(line.values())).age
    dict.__setitem__(line, request.waiter, request)
    if late:
        ordered = sorted(line.items(), key=lambda item: item[1].age)
        line.clear()
        line.update(ordered)
