"""The best known schedule for a trace, found with knowledge of the future.

It runs in the same simulated world as all others, so it is feasible. It is not proven to be the
best. `bounds.py` says how far from the best it can be.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from router.scheduler.events import Wanted
from router.simulation.arrivals import ArrivalTrace
from router.simulation.world import World
from tests.bench.swap.board import Board, Loaded
from tests.bench.swap.bounds import lower_bound
from tests.bench.swap.figures import Figures, figures

MARGINS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0)  # s; before a swap must begin
COARSE = (5.0, 20.0, 80.0)  # for traces with more requests than ...
LONG = 2000  # ... this: their schedules take seconds to run
FURTHER = 2  # margins tried after the first one that serves all
DOUBTS = (0.1, 0.2, 0.3)  # how often the second best engine goes instead


@dataclass(frozen=True, slots=True)
class Search:
    """Of many schedules, finds the one with the fewest cold starts and no failed request."""

    trace: ArrivalTrace
    patience: float

    def best(self) -> Figures | None:
        bound = lower_bound(self.trace, self.patience)
        few = len(self.trace.requests) > LONG
        found: list[tuple[Figures, float]] = []
        for margin in COARSE if few else MARGINS:
            if len(found) > (0 if few else FURTHER):
                break
            if made := self._carry_out(margin, doubt=0.0):
                found.append((made, margin))
                if made.cold_starts == bound:
                    return made
        if not found:
            return None
        margin = min(found, key=lambda one: _rank(one[0]))[1]
        doubted = (self._carry_out(margin, doubt) for doubt in (() if few else DOUBTS))
        return min((*(made for made, _ in found), *filter(None, doubted)), key=_rank)

    def _carry_out(self, margin: float, doubt: float) -> Figures | None:
        """Run one schedule; None if a request fails."""
        rule = Clairvoyant(self.trace, margin, doubt, random.Random(1))
        board = Board(self.trace.machine, self.trace.models, rule)

        def check() -> None:
            if board.failures:
                raise _Failed

        world = World(
            self.trace, board, declared=True, patience=self.patience, after_each=check
        )
        with suppress(_Failed):
            world.run()
        return None if board.failures else figures(world)


class _Failed(Exception):
    """A request has failed, so this schedule does not count."""


def _rank(made: Figures) -> tuple[int, float]:
    return made.cold_starts, made.p95


class Clairvoyant:
    """A rule that knows the future. It loads a model as late as its first request's patience
    allows, so that other requests join. Then it removes the engine that must be back last
    (Belady's choice)."""

    def __init__(
        self, trace: ArrivalTrace, margin: float, doubt: float, rng: random.Random
    ) -> None:
        self._trace, self._margin, self._doubt, self._rng = trace, margin, doubt, rng
        self._names = {f"bench/{model.name}": n for n, model in enumerate(trace.models)}
        self._arrivals = [
            [one.at for one in trace.requests if one.model == number]
            for number in range(len(trace.models))
        ]
        self._leaving: dict[int, float] = {}  # by generation: the end of its last answer
        self._ends: dict[int, float] = {}  # by generation: the end of its requests in flight

    def __call__(self, board: Board) -> None:
        waiting = list(board.oldest())
        absent = [one for one in waiting if not board.coming(one)]
        starts = self._latest_starts(absent)
        self._serve_all(board, waiting, starts)
        for request, start in starts:
            if board.missing(request) <= 0:
                board.swap(request, ())
            elif start <= board.now:
                self._swap(board, request)
        board.look_again_at = min(
            (start for _, start in starts if start > board.now), default=inf
        )

    def _latest_starts(self, absent: list[Wanted]) -> list[tuple[Wanted, float]]:
        """When each swap must begin so that all are in time; loads take turns at the disk."""
        latest: list[tuple[Wanted, float]] = []
        machine, after = self._trace.machine, inf
        for request in sorted(absent, key=lambda one: -one.deadline):
            weights = self._trace.models[self._number(request)].weights
            takes = machine.stop + machine.cold_start(weights) + self._margin
            after = min(request.deadline - takes, after - weights / machine.load_rate)
            latest.append((request, after))
        return latest[::-1]

    def _swap(self, board: Board, request: Wanted) -> None:
        """Stop engines, or let them stop as soon as they are idle."""
        victims = self._victims(board, request)
        if all(victim.idle for victim in victims):
            if victims:
                board.swap(request, victims)
            return
        for victim in victims:
            self._leaving[victim.generation] = self._ends.get(victim.generation, 0.0)

    def _victims(self, board: Board, request: Wanted) -> list[Loaded]:
        missing, chosen = board.missing(request), list[Loaded]()
        order = [one for one in board.up() if one.ready and one.served]
        order.sort(
            key=lambda one: (one.generation not in self._leaving, -self._needed(one, board))
        )
        while order and missing > 0:
            second = len(order) > 1 and self._rng.random() < self._doubt
            chosen.append(order.pop(1 if second else 0))
            missing -= chosen[-1].bytes
        return chosen if missing <= 0 else []

    def _needed(self, engine: Loaded, board: Board) -> float:
        """The time of the next request for its model."""
        arrivals = self._arrivals[self._names[engine.key.repo_id]]
        following = bisect_right(arrivals, board.now)
        return arrivals[following] if following < len(arrivals) else inf

    def _serve_all(
        self, board: Board, waiting: list[Wanted], starts: list[tuple[Wanted, float]]
    ) -> None:
        """Grant requests, except those that would outlast their engine."""
        up = sorted(board.up(), key=lambda one: -self._needed(one, board))
        goes, by = None, inf
        if starts and board.missing(starts[0][0]) > 0 and up:
            goes, by = up[0], starts[0][1]
        for request in waiting:
            engine = board.engine(request)
            if engine is None or not engine.takes_more:
                continue
            until = self._leaving.get(engine.generation, inf)
            if engine is goes:
                until = min(until, max(by, self._ends.get(engine.generation, 0.0)))
            self._serve(board, request, engine, until)

    def _serve(self, board: Board, request: Wanted, engine: Loaded, until: float) -> None:
        token = self._trace.machine.token
        if until <= board.now:
            return
        for one in board.line(request):
            ends = board.now + self._trace.requests[one.waiter].tokens * token
            if ends <= until or not engine.served:
                board.grant(one, engine)
                latest = self._ends.get(engine.generation, 0.0)
                self._ends[engine.generation] = max(ends, latest)
            if not engine.takes_more:
                return

    def _number(self, request: Wanted) -> int:
        return self._names[request.spec.model.repo_id]
