"""Whose turn it is, while several callers want the same thing.

Nothing here limits a caller that is alone: with no other caller waiting, it may use all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from router.scheduler.events import Wanted
from router.scheduler.waiting import Line


def turns(line: Line, in_flight: Iterable[Wanted], most: int | None) -> Iterator[Wanted]:
    """Waiting requests in the order in which they get the free places of an engine.

    The next is the oldest request of the caller with the fewest requests in flight there;
    of several such callers, the one whose request is older. `most`: requests that one caller
    may have in flight; None: as many as there are places.

    The receiver takes each request out of the line. The caller of one that it leaves there
    gets no more turns in this round.
    """
    held = Counter(request.caller for request in in_flight)
    oldest = filter(None, map(line.oldest_of, line.callers))
    order = [(held[one.caller], one.age, one.waiter, one.caller) for one in oldest]
    heapify(order)
    while order:
        count, _, waiter, caller = order[0]
        if most is not None and count >= most:
            return  # the others have as many at least
        yield line[waiter]
        following = line.oldest_of(caller)
        if following is None or following.waiter == waiter:
            heappop(order)
        else:
            heapreplace(order, (count + 1, following.age, following.waiter, caller))
