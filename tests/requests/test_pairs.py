"""A batch that mixes pairs and single texts would kill an encoder's engine. SGLang can rerank
with few generation models."""

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


async def test_a_chat_model_that_is_known_to_rerank_nothing_is_not_started_for_it() -> None:
    async with serving_fakes() as d:
        d.hub.add("org/judge", reranks=False)
        with pytest.raises(WrongEndpoint) as caught:
            await ask(d, RERANK)
        said = caught.value.message
        assert "chat template" in said
        assert "Use /v1/chat/completions, " in said
        assert SCORE in said
        assert "rerank" not in said.partition("Use ")[2]
        assert not d.downloader.calls
        await ask(d, SCORE)


@pytest.mark.parametrize("known", [None, True])
async def test_a_chat_model_whose_files_show_that_it_reranks_nothing_is_not_asked(
    known: bool | None,
) -> None:
    async with serving_fakes() as d:
        d.hub.add("org/judge", reranks=known)
        await ask(d, RERANK)
        d.launcher.engine("judge").scores_pairs = False
        with pytest.raises(WrongEndpoint, match="chat template asks for yes or no"):
            await ask(d, RERANK)
        await ask(d, SCORE)
        assert [sent.url.rpartition("/v1")[2] for sent in d.upstream.sent] == [
            "/rerank",
            "/score",
        ]


async def test_a_task_that_a_model_is_not_for_is_refused_with_the_routes_that_it_serves() -> (
    None
):
    async with serving_fakes() as d:
        d.hub.add("org/judge", reranks=False)
        with pytest.raises(WrongEndpoint) as caught:
            await ask(d, CLASSIFY)
        assert "/v1/chat/completions" in caught.value.message
        assert RERANK not in caught.value.message
