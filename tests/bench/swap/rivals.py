"""How others decide, written from their published rules. All know every model's memory.

Each is shown in its best light: where the original would cut off a request to make room, or
refuse one instead of letting it wait, the rule here waits. Callers give up after the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.scheduler.events import Wanted
from router.simulation.arrivals import ArrivalTrace
from tests.bench.swap.board import Board, Loaded

# Which engine goes first: that with the lowest.
Order = Callable[[Loaded, float], float]


class Rule(Protocol):
    def __call__(self, board: Board) -> None:
        """Grant, and begin swaps, until nothing more can be done now."""


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
    """llama-swap, its `fifo` scheduler over a `matrix` of what fits.

    In the order of arrival, a request of a model that is up is served at once, and one of a
    model that is coming up joins. Any other begins a swap: of all sets of engines whose end
    would make room, the cheapest to load again is chosen, busy or not; if one of them is
    busy, or part of another swap, the request waits. Swaps that have no engine in common go
    on side by side.
    """
    for request in board.oldest():
        engine = board.engine(request)
        if engine is not None:
            board.grant_all(request, engine)
        elif not board.coming(request):
            _make_room(board, request, _cheapest_to_load, busy=True)


def counting(board: Board) -> None:
    """llama.cpp's router: at most so many engines, and the least recently used one goes.

    The number is how many of the largest model fit. The original stops that engine even while
    it loads or answers; here it looks for one that is idle.
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
    """Lemonade: the engine with the most idle time for each second of its load goes.

    One load at a time, in the order of arrival; models that are up go on serving.
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
    """Begin a swap if room can be made now. `busy`: the choice does not look for idle ones."""
    missing = board.missing(request)
    candidates = board.up() if busy else board.idle()
    victims = _fewest(missing, sorted(candidates, key=lambda one: order(one, board.now)))
    if victims is not None and all(one.idle for one in victims):
        board.swap(request, victims)


def _fewest(missing: int, candidates: Iterable[Loaded]) -> Sequence[Loaded] | None:
    """The first of these that free enough, without those that the others make needless."""
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
    """Engines that cost the same go by their last use."""
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
