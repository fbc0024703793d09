"""A batch of pairs and of single texts would kill an encoder's engine."""

from __future__ import annotations

import orjson
import pytest

from router.errors import WrongEndpoint
from router.models import Task
from router.requests.request import Request
from tests.requests.harness import ServiceHarness, serving_fakes

RERANK, CLASSIFY, SCORE = "/v1/rerank", "/v1/classify", "/v1/score"
BODIES: dict[str, dict[str, object]] = {
    RERANK: {"query": "which?", "documents": ["this"]},
    CLASSIFY: {"input": "this"},
    SCORE: {"query": "which?", "items": ["this"]},
}


async def ask(d: ServiceHarness, path: str) -> None:
    await d.ask(Request(path, orjson.dumps({"model": "org/judge", **BODIES[path]})))


@pytest.mark.parametrize(
    ("pairs", "fits", "wrong"),
    [(True, RERANK, [CLASSIFY, SCORE]), (False, CLASSIFY, [RERANK])],
)
async def test_an_encoder_is_asked_about_pairs_or_about_texts(
    pairs: bool, fits: str, wrong: list[str]
) -> None:
    async with serving_fakes() as d:
        d.hub.add("org/judge", task=Task.CLASSIFY)
        await ask(d, fits)
        d.launcher.engine("judge").scores_pairs = pairs
        for path in wrong:
            with pytest.raises(WrongEndpoint, match=fits):
                await ask(d, path)
        assert len(d.upstream.sent) == 1
        await ask(d, fits)


@pytest.mark.parametrize("path", BODIES)
async def test_another_classifier_is_asked_about_either(path: str) -> None:
    async with serving_fakes() as d:
        d.hub.add("org/judge", task=Task.CLASSIFY)
        await ask(d, path)
        assert len(d.upstream.sent) == 1
