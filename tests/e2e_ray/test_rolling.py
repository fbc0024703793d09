"""A rolling update under load, and a fleet that grows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import Harness
from tests.e2e_ray.fleet import RayFleet
from tests.e2e_ray.load import ENGINE, Load
from tests.eventually import eventually

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def fleet(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    options = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_requests": 2.0,
        "upscale_delay": 1.0,
        "downscale_delay": 3600.0,
    }
    with RayFleet(tmp_path_factory.mktemp("fleet"), harness.hub, options=options) as fleet:
        yield fleet


async def test_a_fleet_grows_with_its_queue_and_rolls_without_a_loss(
    harness: Harness, fleet: RayFleet
) -> None:
    models = [harness.model(f"org/rolled-{number}", **ENGINE) for number in range(2)]
    load = Load(fleet.urls, models, callers=8)
    async with load.running():
        await load.seen("whole", 10)
        await eventually(lambda: len(fleet.replicas()) == 2)
        await load.seen("whole", 20)
        before = {one.pid for one in (*fleet.replicas(), *fleet.ingresses())}
        fleet.ask("roll")
        await eventually(
            lambda: (
                len(fleet.replicas()) == 2
                and not before & {one.pid for one in (*fleet.replicas(), *fleet.ingresses())}
            ),
            within=240,
        )
        await load.seen("whole", 20)
    assert not load.wrong, load.outcomes
    assert not load.outcomes["told"], load.outcomes
    print(load.outcomes)
