"""Rivals' decisions, written from their published rules. All know every model's memory.

Each is shown at its best. Where the original would cut off a request to make room, or refuse
one instead of letting it wait, the rule here waits. Callers give up after the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.scheduler.events import Wanted
from router.simulation.arrivals import ArrivalTrace
from tests.bench.swap.board import Board, Loaded

# The engine with the lowest value goes first.
Order = Callable[[Loaded, float], float]


class Rule(Protocol):
    def __call__(self, board: Board) -> None:
        """Grant requests and begin swaps, until nothing more can be done now."""


def strict(board: Board) -> None:
    """First come, first served: no request begins before an earlier one has."""
    while request := next(board.oldest(), None):
        engine = board.engine(request)
        if engine is None or not engine.takes_more:
            break
        board.grant(request, engine)
    if request is not None and engine is None and not board.swapping:
        _make_room(board, request, _least_recently_used, busy=False)


def collating(board: Board) -> None:
    """llama-swap: its `fifo` scheduler over a `matrix` of what fits.

    It serves requests in order of arrival. A request for a ready model is served at once, and
    one for a starting model joins. Any other begins a swap. Of all sets of engines whose end
    would make room, it chooses the one that is cheapest to load again, busy or not. If one of
    them is busy, or part of another swap, the request waits. Swaps without a common engine run
    in parallel.
    """
    for request in board.oldest():
        engine = board.engine(request)
        if engine is not None:
            board.grant_all(request, engine)
        elif not board.coming(request):
            _make_room(board, request, _cheapest_to_load, busy=True)


def counting(board: Board) -> None:
    """llama.cpp's router: a maximum number of engines; the least recently used one goes.

    The maximum is how many of the largest model fit. The original stops that engine even while
    it loads or answers; here it looks for an idle one.
    """
    largest = max(board.models, key=lambda model: model.bytes)
    most = board.machine.device // largest.bytes
    for request in board.oldest():
        engine = board.engine(request)
        if engine is not None:
            board.grant_all(request, engine)
        elif not board.coming(request):
            if board.count < most:
                board.swap(request, ())
            elif idle := sorted(board.idle(), key=lambda one: one.last_used):
                board.swap(request, idle[:1])


def weighing(board: Board) -> None:
    """Lemonade: the engine with the most idle time per second of its load time goes.

    One load at a time, in order of arrival. Loaded models continue to serve.
    """
    blocked = board.swapping
    for request in board.oldest():
        engine = board.engine(request)
        if engine is not None:
            board.grant_all(request, engine)
        elif not blocked:
            _make_room(board, request, _idle_by_load, busy=False)
            blocked = True


def _make_room(board: Board, request: Wanted, order: Order, *, busy: bool) -> None:
    """Begin a swap if room can be made now. `busy`: the choice includes busy engines."""
    missing = board.missing(request)
    candidates = board.up() if busy else board.idle()
    victims = _fewest(missing, sorted(candidates, key=lambda one: order(one, board.now)))
    if victims is not None and all(one.idle for one in victims):
        board.swap(request, victims)


def _fewest(missing: int, candidates: Iterable[Loaded]) -> Sequence[Loaded] | None:
    """The first of these that free enough, without those that the others make unnecessary."""
    chosen: list[Loaded] = []
    freed = 0
    for one in candidates:
        if freed >= missing:
            break
        chosen.append(one)
        freed += one.bytes
    if freed < missing:
        return None
    for one in tuple(chosen):
        if freed - one.bytes >= missing:
            chosen.remove(one)
            freed -= one.bytes
    return chosen


def _least_recently_used(engine: Loaded, now: float) -> float:
    return engine.last_used - now


def _cheapest_to_load(engine: Loaded, now: float) -> float:
    """Among engines of equal cost, the last use decides."""
    return engine.load_seconds + (engine.last_used - now) * 1e-9


def _idle_by_load(engine: Loaded, now: float) -> float:
    return -(now - engine.last_used) / engine.load_seconds


@dataclass(frozen=True, slots=True)
class Rival:
    name: str
    title: str
    rule: Rule

    def decider(self, trace: ArrivalTrace) -> Board:
        return Board(trace.machine, trace.models, self.rule)


RIVALS = (
    Rival("strict", "strict order", strict),
    Rival("llama-swap", "llama-swap (collates)", collating),
    Rival("llama.cpp", "llama.cpp (LRU by count)", counting),
    Rival("lemonade", "Lemonade (cost-based)", weighing),
)
