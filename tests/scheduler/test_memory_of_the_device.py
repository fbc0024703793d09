"""Random traces on random machines whose memory does not behave as planned."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import GB, MB, Hardware, Model
from router.simulation.world import World
from tests.scheduler.unruly_card import Truth, UnrulyCard

WRONG_BY = 0.2
PATIENCE = 300.0

factors = st.floats(1 - WRONG_BY, 1 + WRONG_BY)


@st.composite
def traces(draw: st.DrawFn, *, devices: int) -> ArrivalTrace:
    count = draw(st.integers(1, 6))
    models = tuple(
        Model(
            f"m{number}",
            draw(st.integers(1, 45)) * GB,
            draw(st.integers(500, 6000)) * MB,
            draw(st.integers(1, min(devices, 2))),
        )
        for number in range(count)
    )
    asked = st.tuples(
        st.floats(0, 600),
        st.integers(0, count - 1),
        st.sampled_from("abc"),
        st.integers(1, 9000),
    )
    requests = sorted(draw(st.lists(asked, min_size=1, max_size=60)))
    machine = Hardware(device=draw(st.integers(20, 90)) * GB, stop=draw(st.floats(0, 20)))
    return ArrivalTrace(
        "random", "random", machine, models, tuple(Arrival(*r) for r in requests), 600
    )


@st.composite
def cards(draw: st.DrawFn, trace: ArrivalTrace, *, declared: bool) -> UnrulyCard:
    return UnrulyCard(
        trace.machine.device,
        declared,
        {model.name: Truth(draw(factors), draw(factors)) for model in trace.models},
        slow=draw(st.just(0.0) | st.floats(0, 15)),
        pieces=draw(st.just(0.0) | st.floats(0, 0.05)),
    )


@st.composite
def limits(draw: st.DrawFn, trace: ArrivalTrace, *, devices: int) -> Limits:
    """Limits from settings. Settings unknown to this version are left out."""
    known = {one.name for one in fields(Limits)}
    wanted = {
        "standby": draw(st.integers(0, 2)),
        "sleep_memory": draw(st.sampled_from((0, 40, 200))) * GB,
        "patience": draw(st.none() | st.floats(0, PATIENCE)),
        "max_concurrency": draw(st.integers(1, 16)),
        "min_residency": draw(st.floats(0, 20)),
    }
    chosen = {name: value for name, value in wanted.items() if name in known}
    return replace(Limits(trace.machine.device, devices=devices), **chosen)  # type: ignore[arg-type]


@given(data=st.data(), devices=st.sampled_from([1, 1, 2, 3]), declared=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_device_is_never_overcommitted_and_every_request_ends(
    data: st.DataObject, devices: int, declared: bool
) -> None:
    trace = data.draw(traces(devices=devices))
    card, *further = (data.draw(cards(trace, declared=declared)) for _ in range(devices))
    scheduler = Scheduler(data.draw(limits(trace, devices=devices)))
    world = World(
        trace,
        scheduler,
        declared=declared,
        patience=PATIENCE,
        card=card,
        further=further,
        after_each=scheduler.validate,
    )
    world.run()
    event(f"starts: {min(world.machine.totals.cold_starts, 10)}")
    assert max(one.overcommitted for one in (card, *further)) == 0
    assert all(one.ended is not None for one in world.outcomes)
