"""Bounds hold for simulated schedules; parallel loads share the bandwidth."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import GB, Hardware, Model
from router.simulation.reads import WeightReads
from tests.bench.swap.bounds import by_turns, by_windows, lower_bound
from tests.bench.swap.offline import Search
from tests.bench.swap.traces import TRACES


def test_two_models_in_one_place_need_as_many_starts_as_their_callers_are_impatient() -> None:
    trace = TRACES["abab-slow"](1)
    assert by_turns(trace, 300.0) == 28
    assert by_turns(trace, 120.0) == 81


@st.composite
def traces(draw: st.DrawFn) -> ArrivalTrace:
    count = draw(st.integers(2, 4))
    models = tuple(Model(f"m{n}", draw(st.integers(4, 16)) * GB) for n in range(count))
    asked = st.tuples(st.floats(0, 900), st.integers(0, count - 1), st.integers(1, 300))
    requests = sorted(draw(st.lists(asked, min_size=1, max_size=30)))
    made = tuple(Arrival(at, model, "a", tokens) for at, model, tokens in requests)
    machine = Hardware(device=draw(st.integers(18, 40)) * GB)
    return ArrivalTrace("random", "random", machine, models, made, 900)


@given(trace=traces(), patience=st.sampled_from((120.0, 300.0)))
@settings(max_examples=25, deadline=None)
def test_no_schedule_that_serves_all_beats_the_proven_bound(
    trace: ArrivalTrace, patience: float
) -> None:
    best = Search(trace, patience).best()
    if best is not None:
        assert best.served == 1.0
        assert best.longest <= patience
        assert by_windows(trace, patience, prestart=True) <= by_windows(trace, patience)
        assert lower_bound(trace, patience) <= best.cold_starts


def test_engines_that_load_at_once_share_the_rate() -> None:
    loads = WeightReads(rate=10.0)
    loads.begin(1, 100, now=0.0)
    loads.begin(2, 100, now=5.0)
    assert loads.next_done(5.0) == 15.0
    assert loads.done(15.0) == [1]
    assert loads.next_done(15.0) == 20.0
    assert loads.done(20.0) == [2]
