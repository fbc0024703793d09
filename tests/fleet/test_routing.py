"""Affinity comes first, load second. The bounds hold in any fleet."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.fleet.report import Costs, Warm, Warmth, WorkerReport
from router.fleet.ring import Ring, hashed
from router.fleet.routing import Fleet, Why
from router.fleet.session import session_key
from tests.steps import calls_of

COSTS = Costs(start=40.0, wake=2.0, answer=5.0, slack=1.25)


def fleet(*reports: WorkerReport, seed: int = 1) -> Fleet:
    made = Fleet(COSTS, random.Random(seed))
    for number, report in enumerate(reports):
        made.report(f"w{number}", report)
    return made


def warm(load: int = 0, state: Warmth = Warmth.LOADED, model: str = "m") -> WorkerReport:
    return WorkerReport(models={model: Warm(state, load)}, in_flight=load)


def worker_for(made: Fleet, model: str, session: str = "") -> str:
    route = made.choose(model, session)
    assert route is not None
    return route.worker


def test_a_fleet_without_workers_has_none_to_choose() -> None:
    assert fleet().choose("m") is None


def test_a_request_goes_where_its_model_is_warm() -> None:
    route = fleet(WorkerReport(), warm(load=3), WorkerReport()).choose("m")
    assert route is not None
    assert (route.worker, route.reason) == ("w1", Why.WARM)


def test_a_loaded_model_comes_before_a_sleeping_one_and_that_before_one_that_loads() -> None:
    states = [Warmth.LOADING, Warmth.SLEEPING, Warmth.LOADED]
    loads = [0, 1, 2]
    reports = [warm(load, state) for load, state in zip(loads, states, strict=True)]
    route = fleet(*reports).choose("m")
    assert route is not None
    assert (route.worker, *route.others) == ("w2", "w1", "w0")


def test_of_two_warm_workers_the_one_with_fewer_requests_is_chosen() -> None:
    route = fleet(warm(load=9), warm(load=2)).choose("m")
    assert route is not None
    assert route.worker == "w1"


def test_a_request_spills_when_the_queue_costs_more_than_a_cold_start() -> None:
    full = 64 + 64 * 9  # nine rounds of 5 s
    route = fleet(warm(load=full), WorkerReport()).choose("m")
    assert route is not None
    assert (route.worker, route.reason, route.others) == ("w1", Why.SPILLED, ("w0",))
    patient = fleet(warm(load=64 + 64 * 6), WorkerReport()).choose("m")
    assert patient is not None
    assert patient.worker == "w0"


def test_a_request_does_not_spill_to_where_it_would_wait_for_longer() -> None:
    busy = WorkerReport(models={f"x{n}": Warm(Warmth.LOADING) for n in range(9)})
    route = fleet(warm(load=64 + 64 * 9), busy).choose("m")
    assert route is not None
    assert route.worker == "w0"


def test_the_same_cold_model_goes_to_the_same_worker_for_all_that_route() -> None:
    one, other = (fleet(*[WorkerReport()] * 20, seed=seed) for seed in (1, 2))
    names = [f"org/model-{n}" for n in range(50)]
    assert [one.choose(name) for name in names] == [other.choose(name) for name in names]
    assert len({worker_for(one, name) for name in names}) > 10


def test_a_cold_model_passes_a_worker_that_starts_another() -> None:
    at_rest = fleet(*[WorkerReport()] * 4)
    own = worker_for(at_rest, "m")
    at_rest.report(own, WorkerReport(models={"x": Warm(Warmth.LOADING)}))
    assert worker_for(at_rest, "m") != own


def test_a_cold_model_passes_a_worker_that_has_more_than_its_share_of_requests() -> None:
    made = fleet(*[WorkerReport()] * 4)
    own = worker_for(made, "m")
    made.report(own, WorkerReport(in_flight=100))
    assert worker_for(made, "m") != own


def test_a_cold_model_passes_a_worker_without_room() -> None:
    made = fleet(*[WorkerReport()] * 4)
    own = worker_for(made, "m")
    made.report(own, WorkerReport(room=False))
    assert worker_for(made, "m") != own
    for number in range(4):
        made.report(f"w{number}", WorkerReport(room=False))
    assert worker_for(made, "m") == own


def test_requests_that_were_sent_count_until_the_next_report() -> None:
    made = fleet(warm(load=1), warm(load=2))
    made.sent("w0", "m")
    made.sent("w0", "m")
    assert worker_for(made, "m") == "w1"
    made.ended("w0", "m")
    made.ended("w0", "m")
    assert worker_for(made, "m") == "w0"
    made.sent("w0", "m")
    made.sent("w0", "m")
    made.report("w0", warm(load=1))
    assert worker_for(made, "m") == "w0"


def test_a_burst_for_a_cold_model_goes_to_one_worker_before_that_has_reported() -> None:
    made = fleet(*[WorkerReport()] * 10)
    for _ in range(100):
        made.sent(worker_for(made, "m"), "m")
    own = worker_for(made, "m")
    for _ in range(100):
        made.ended(own, "m")  # another request would fail here: it has none
    assert made._starting == made._load == 0
    route = made.choose("m")
    assert route is not None
    assert (route.worker, route.reason) == (own, Why.COLD)


def test_where_one_worker_has_a_model_the_next_to_try_is_where_it_would_start() -> None:
    made = fleet(warm(), *[WorkerReport()] * 5)
    route = made.choose("m")
    assert route is not None
    [other] = route.others
    made.forget("w0")
    assert worker_for(made, "m") == other


def test_a_worker_that_has_left_gets_nothing() -> None:
    made = fleet(warm(), WorkerReport())
    made.forget("w0")
    made.forget("w0")
    made.ended("w0", "m")
    assert worker_for(made, "m") == "w1"


def test_a_session_stays_with_one_of_several_workers() -> None:
    made = fleet(*[warm(load=n % 3) for n in range(8)])
    first = [worker_for(made, "m", str(session)) for session in range(40)]
    assert first == [worker_for(made, "m", str(session)) for session in range(40)]
    assert len(set(first)) > 4
    route = made.choose("m", "0")
    assert route is not None
    assert route.reason is Why.STICKY


@pytest.mark.parametrize("count", [5, 40])
def test_a_session_leaves_a_worker_that_has_more_than_its_share(count: int) -> None:
    made = fleet(*[warm(load=4) for _ in range(count)])
    own = worker_for(made, "m", "s")
    made.report(own, warm(load=60))
    assert worker_for(made, "m", "s") != own
    made.report(own, warm(load=4))
    assert worker_for(made, "m", "s") == own


@pytest.mark.parametrize("count", [5, 40])
def test_a_session_stays_where_few_requests_are_though_others_have_none(count: int) -> None:
    made = fleet(*[warm(load=0) for _ in range(count)])
    own = worker_for(made, "m", "s")
    made.report(own, warm(load=15))
    assert worker_for(made, "m", "s") == own
    made.report(own, warm(load=16))
    assert worker_for(made, "m", "s") != own


STATES = st.sampled_from(list(Warmth))
REPORTS = st.builds(
    WorkerReport,
    models=st.dictionaries(
        st.sampled_from("abcdef"), st.builds(Warm, STATES, st.integers(0, 300)), max_size=4
    ),
    in_flight=st.integers(0, 200),
    waiting=st.integers(0, 200),
    capacity=st.integers(1, 64),
    room=st.booleans(),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["report", "report", "forget", "sent", "ended"]),
        st.integers(0, 11),
        st.sampled_from("abcdef"),
        REPORTS,
    ),
    max_size=40,
)


@given(steps=STEPS, model=st.sampled_from("abcdefg"), session=st.sampled_from(["", "s", "t"]))
@settings(max_examples=200, deadline=None)
def test_whatever_has_happened_a_choice_keeps_the_bounds(
    steps: list[tuple[str, int, str, WorkerReport]], model: str, session: str
) -> None:
    made, known = Fleet(COSTS, random.Random(1)), dict[str, WorkerReport]()
    for kind, number, name, report in steps:
        worker = f"w{number}"
        match kind:
            case "report":
                made.report(worker, report)
                known[worker] = report
            case "forget":
                made.forget(worker)
                known.pop(worker, None)
            case "sent" if worker in known:
                made.sent(worker, name)
                made.ended(worker, name)
    route = made.choose(model, session)
    assert (route is None) == (not known)
    assert_loads_are_counted(made, known)
    if route is None:
        return
    having = {worker: one.models[model] for worker, one in known.items() if model in one.models}
    assert {route.worker, *route.others} <= set(known)
    assert route.worker not in route.others
    match route.reason:
        case Why.COLD:
            assert not having
            assert_light_as_can_be(known, route.worker)
        case Why.SPILLED:
            assert having
            assert route.worker not in having
        case Why.WARM:
            assert route.worker in having
        case Why.STICKY:
            total = sum(one.load for one in having.values())
            bound = ceil(COSTS.slack * (total + 1) / len(having))
            assert having[route.worker].load + 1 <= bound


def assert_loads_are_counted(made: Fleet, known: dict[str, WorkerReport]) -> None:
    for name in "abcdef":
        group = made._warm.group(name)
        loads = [one.models[name].load for one in known.values() if name in one.models]
        assert (group.load if group else 0) == sum(loads)


def assert_light_as_can_be(known: dict[str, WorkerReport], worker: str) -> None:
    def load(one: WorkerReport) -> int:
        return one.in_flight + one.waiting

    def starting(one: WorkerReport) -> int:
        return sum(warm.state is Warmth.LOADING for warm in one.models.values())

    loads = ceil(COSTS.slack * (sum(map(load, known.values())) + 1) / len(known))
    starts = ceil(COSTS.slack * (sum(map(starting, known.values())) + 1) / len(known))
    light = {
        name
        for name, one in known.items()
        if load(one) < max(loads, one.capacity // 4) and starting(one) < starts
    }
    assert worker in light or not light


def test_a_worker_that_joins_takes_only_its_share_of_the_cold_models() -> None:
    made = fleet(*[WorkerReport()] * 20)
    names = [f"org/model-{n}" for n in range(1000)]
    before = {name: worker_for(made, name) for name in names}
    made.report("new", WorkerReport())
    moved = {name for name in names if worker_for(made, name) != before[name]}
    assert 0 < len(moved) < 2 * len(names) / 20
    assert {worker_for(made, name) for name in moved} == {"new"}


def test_each_member_of_a_ring_is_walked_once_and_has_about_its_share() -> None:
    ring = Ring()
    for number in range(10):
        ring.add(f"w{number}")
    assert sorted(ring.walk(hashed("x"))) == [f"w{number}" for number in range(10)]
    shares = Counter(next(ring.walk(hashed(f"model-{n}"))) for n in range(5000))
    assert min(shares.values()) > 250
    assert max(shares.values()) < 1000
    ring.remove("w3")
    assert "w3" not in list(ring.walk(0))


def test_a_name_has_its_place_in_every_process() -> None:
    assert hashed("org/model") == 0xCCB39145BB4C4941


@pytest.mark.parametrize("session", ["", "s"])
@pytest.mark.parametrize("warm_on", [0, 10])
def test_a_decision_costs_no_more_among_a_thousand_workers(session: str, warm_on: int) -> None:
    """`tests.bench.fleet` measures the time."""

    def most(workers: int) -> int:
        made = fleet(*[warm(load=1)] * warm_on, *[WorkerReport()] * (workers - warm_on))
        made.choose("m", session)
        names = [f"{session}{n}" if session else "" for n in range(20)]
        return max(calls_of(partial(made.choose, "m", name)) for name in names)

    assert most(1000) <= 2 * most(20)


def test_a_session_is_what_begins_alike_for_the_same_caller() -> None:
    system = {"role": "system", "content": "Be brief."}
    first, more = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    key = session_key({"messages": [system, first]}, "caller")
    assert key == session_key({"messages": [system, first, more, first]}, "caller")
    assert key != session_key({"messages": [system, more, first]}, "caller")
    assert key != session_key({"messages": [system, first]}, "other")
    assert session_key({"prompt": "Once"}) == session_key({"prompt": "Once"}) != ""
    assert (
        session_key({}) == session_key({"messages": []}) == session_key({"input": ["a"]}) == ""
    )
    assert "brief" not in key
