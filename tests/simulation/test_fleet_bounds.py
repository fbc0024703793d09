"""No way of choosing workers beats the bounds: no rule, and not even the best of all
choices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.fleet.report import WorkerReport
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.fleet_world import FleetFigures, FleetWorld, Routing
from router.simulation.hardware import Hardware, Model
from router.simulation.routings import AlwaysThere, AtRandom, Bounded, LeastLoaded
from tests.bench.fleet.bound import Bounds, bounds, fewest_in_order

ROUNDING = 1e-9


class Prescribed:
    """The n-th request goes to the n-th worker in a list."""

    def __init__(self, workers: tuple[int, ...]) -> None:
        self._rest = iter(workers)

    def choose(self, model: str) -> int:
        return next(self._rest)

    def sent(self, worker: int, model: str) -> None:
        pass

    def report(self, worker: int, report: WorkerReport) -> None:
        pass


def run(trace: ArrivalTrace, workers: int, routing: Routing, patience: float) -> FleetFigures:
    limits = Limits(trace.machine.device, standby=1)
    world = FleetWorld(trace, workers, routing, lambda: Scheduler(limits), patience=patience)
    world.run()
    return world.figures()


def made(asked: list[tuple[float, int, int]], fits: int) -> ArrivalTrace:
    """Requests as (time, model, tokens). So many models fit on a worker."""
    models = tuple(Model(f"m{number}") for number in range(6))
    machine = Hardware(device=fits * models[0].bytes)
    requests = tuple(Arrival(at, model, "", tokens) for at, model, tokens in sorted(asked))
    return ArrivalTrace("x", "x", machine, models, requests, 1200.0)


def asked(most: int) -> st.SearchStrategy[list[tuple[float, int, int]]]:
    one = st.tuples(
        st.floats(0, 1200), st.integers(0, 5), st.integers(1, 600).map(lambda n: n * 5)
    )
    return st.lists(one, min_size=1, max_size=most)


def keeps(found: FleetFigures, least: Bounds) -> bool:
    if found.p95 < least.p95 - ROUNDING:
        return False
    if found.served < 1:
        return True  # a schedule that fails requests may have fewer starts
    return found.cold_starts >= least.cold_starts and found.busy >= least.busy * (1 - ROUNDING)


@given(
    asked=asked(30),
    fits=st.integers(1, 2),
    workers=st.integers(1, 3),
    patience=st.sampled_from((60.0, 120.0, 480.0)),
)
@settings(max_examples=40, deadline=None)
def test_no_way_of_choosing_workers_is_below_a_bound(
    asked: list[tuple[float, int, int]], fits: int, workers: int, patience: float
) -> None:
    trace = made(asked, fits)
    least = bounds(trace, workers, patience)
    for way in (AtRandom(workers), LeastLoaded(workers), AlwaysThere(workers), Bounded()):
        assert keeps(run(trace, workers, way, patience), least)


@given(asked=asked(5), patience=st.sampled_from((60.0, 480.0)))
@example(asked=[(0.0, 0, 5), (100.0, 1, 5), (200.0, 0, 5)], patience=480.0)
@settings(max_examples=20, deadline=None)
def test_the_best_of_all_ways_to_share_out_few_requests_is_not_below_a_bound(
    asked: list[tuple[float, int, int]], patience: float
) -> None:
    trace = made(asked, fits=1)
    least = bounds(trace, 2, patience)
    every = product(
        range(2), repeat=len(asked) - 1
    )  # workers are equal, so the first choice does not matter
    for rest in every:
        assert keeps(run(trace, 2, Prescribed((0, *rest)), patience), least)


def test_bounds_are_reached_where_a_fleet_has_all_it_needs() -> None:
    trace = made([(0.0, 0, 500), (100.0, 1, 500), (200.0, 0, 500)], fits=1)
    found = run(trace, 2, Prescribed((0, 1, 0)), 480.0)
    least = bounds(trace, 2, 480.0)
    assert found.cold_starts == least.cold_starts == 2
    assert least.p95 == trace.machine.load(trace.models[0].weights)
    assert least.busy == (2 * 22 + 3 * 10) / 3600
    assert found.busy <= (2 * 40 + 3 * 10) / 3600  # a start without a standby process


def by_trial(asked: Sequence[int], places: int, warm: frozenset[int] = frozenset()) -> int:
    """The fewest starts in this order, by trying all choices of evicted models."""
    if not asked:
        return 0
    model, *rest = asked
    if model in warm:
        return by_trial(rest, places, warm)
    gone = [warm] if len(warm) < places else [warm - {one} for one in warm]
    return 1 + min(by_trial(rest, places, left | {model}) for left in gone)


@given(models=st.lists(st.integers(0, 4), min_size=1, max_size=9), places=st.integers(1, 3))
def test_in_their_order_requests_need_as_many_starts_as_the_best_of_all_evictions(
    models: list[int], places: int
) -> None:
    assert fewest_in_order(models, places) == by_trial(models, places)


@given(asked=asked(30), workers=st.integers(1, 3))
def test_the_order_of_requests_allows_no_fewer_starts_than_any_order(
    asked: list[tuple[float, int, int]], workers: int
) -> None:
    least = bounds(made(asked, fits=1), workers, 480.0)
    assert least.cold_starts <= least.in_order


def test_a_rare_cold_start_says_nothing_of_the_p95() -> None:
    trace = made([(float(at), 0, 5) for at in range(100)], fits=1)
    assert bounds(trace, 1, 480.0).p95 == 0
