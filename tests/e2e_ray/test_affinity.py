"""The same trace, routed by affinity and at random. Each replica holds half of the models."""

from __future__ import annotations

import random

import pytest

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.e2e_ray.fleet import RayFleet
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.long

MODELS, REQUESTS = 6, 120


async def starts(tmp_path_factory: pytest.TempPathFactory, *, at_random: bool) -> int:
    """Count cold starts for the trace: one request after another, at either ingress."""
    rng = random.Random(7)
    with LoopbackHub() as hub:
        harness = Harness(hub, tmp_path_factory.mktemp("trace"))
        models = [harness.model(f"org/model-{number}") for number in range(MODELS)]
        directory = tmp_path_factory.mktemp("fleet")
        options = {"at_random": at_random}
        environ = {"MAX_LOADED_MODELS": str(MODELS // 2), "STANDBY_ENGINES": "0"}
        with RayFleet(directory, hub, options=options, environ=environ) as fleet:
            for number in range(REQUESTS):
                model = rng.choice(models)
                async with calling(fleet.urls[number % 2]) as caller:
                    assert (await caller.chat(model)).text == f"I am {model}"
        return sum(len(harness.journal.events("start", model)) for model in models)


async def test_affinity_saves_four_of_five_cold_starts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    by_affinity = await starts(tmp_path_factory, at_random=False)
    by_chance = await starts(tmp_path_factory, at_random=True)
    print(
        f"cold starts of {REQUESTS} requests: {by_affinity} by affinity, {by_chance} by chance"
    )
    assert by_affinity * 5 <= by_chance
