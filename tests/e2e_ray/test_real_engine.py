"""Runs once with the real SGLang on the CPU: one replica, two ingresses."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest

from tests import tiny_models
from tests.e2e.caller import Caller
from tests.e2e_ray.fleet import RayFleet
from tests.e2e_sglang.harness import APPLE, PATIENCE, engines_below
from tests.loopback_hub import LoopbackHub

pytestmark = [pytest.mark.long, pytest.mark.sglang]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    directory = tmp_path_factory.mktemp("fleet")
    with LoopbackHub() as hub:
        hub.add_repo(APPLE, tiny_models.make(tmp_path_factory.mktemp("models"), "apple"))
        options = {"min_replicas": 1, "max_replicas": 1}
        environ = engines_below(directory)
        with RayFleet(directory, hub, options=options, environ=environ) as fleet:
            yield fleet


async def test_sglang_answers_through_either_ingress(fleet: RayFleet) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
        for caller in (Caller(session, url) for url in fleet.urls):
            answer = await caller.chat(APPLE, temperature=0, max_tokens=8)
            assert "apple" in answer.text
            async with caller.stream(APPLE) as stream:
                assert "apple" in await stream.text()
            refused = await caller.post("/v1/embeddings", {"model": APPLE, "input": "a"})
            assert refused.refusal == (400, "wrong_endpoint")
