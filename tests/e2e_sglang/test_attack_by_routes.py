"""An engine's own routes, and access by id to other callers' requests and answers. Each attack
works on the engine's own port."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests.e2e_sglang.target import Target
from tests.e2e_sglang.watching import ENDLESS, cached_tokens, streaming

pytestmark = pytest.mark.sglang

COMPLETIONS, RESPONSES = "/v1/completions", "/v1/responses"


async def test_the_cache_is_not_flushed(worker: Target, engine: Target) -> None:
    async def cached() -> int:
        prompt = {"text": "Something to remember for as long as nobody flushes the cache."}
        return cached_tokens((await worker.post("/generate", prompt)).answer)

    await cached()
    for method in ("GET", "POST"):
        assert (await worker.send(method, "/flush_cache", b"{}")).status == 404
    assert await cached() > 50
    # It can still be busy with an answer that has arrived.
    assert (await engine.send("GET", "/flush_cache?timeout=60", b"")).status == 200
    assert await cached() == 0


async def test_an_engine_is_not_told_which_weights_it_has(
    worker: Target, engine: Target
) -> None:
    async def version() -> str:
        answer = (await worker.post("/generate", {"text": "Hi."})).answer
        found: str = answer["meta_info"]["weight_version"]
        return found

    path, before = "/update_weight_version", await version()
    assert (await worker.post(path, {"new_version": "mine"})).status == 404
    assert await version() == before
    for told in ("mine", before):
        assert (await engine.post(path, {"new_version": told})).status == 200
        assert await version() == told


async def test_a_request_that_runs_is_neither_impersonated_nor_aborted(
    http: aiohttp.ClientSession, worker: Target, engine: Target
) -> None:
    async with streaming(http, COMPLETIONS, ENDLESS) as events:
        running = {"rid": json.loads(await anext(events))["id"]}
        twin = {"prompt": "Hi.", **running}
        assert (await worker.post(COMPLETIONS, twin)).answer["id"] != running["rid"]
        assert "Duplicate request ID" in (await engine.post(COMPLETIONS, twin)).text
        assert (await worker.post("/abort_request", running)).status == 404
        assert json.loads(await anext(events))["choices"][0]["finish_reason"] is None
        assert (await engine.post("/abort_request", running)).status == 200
        reasons = [
            json.loads(event)["choices"][0]["finish_reason"]
            async for event in events
            if event != "[DONE]"
        ]
    assert reasons[-1] == "abort"


async def test_an_answer_is_not_kept_for_others_to_go_on_from(
    worker: Target, engine: Target
) -> None:
    async def tokens(asked: dict[str, str]) -> int:
        answer = (await engine.post(RESPONSES, {"input": "Go on.", **asked})).answer
        found: int = answer["usage"]["input_tokens"]
        return found

    secret = "A secret that one caller wrote."
    first = await engine.post(RESPONSES, {"input": secret, "store": True})
    kept = {"previous_response_id": first.answer["id"]}
    assert (
        "previous_response_id"
        in (await worker.post(RESPONSES, {"input": "Go on.", **kept})).refusal
    )
    assert await tokens(kept) > await tokens({}) + len(secret)


async def test_an_answer_is_not_there_by_its_id(worker: Target, engine: Target) -> None:
    asked = {"input": "Hi.", "store": True}
    for target, found in ((engine, 200), (worker, 404)):
        answer = f"{RESPONSES}/{(await target.post(RESPONSES, asked)).answer['id']}"
        assert (await engine.send("GET", answer, b"")).status == found
        assert (await worker.send("GET", answer, b"")).status == 404
        assert (await worker.send("POST", f"{answer}/cancel", b"{}")).status == 404


async def test_nothing_is_generated_behind_a_request_s_back(
    worker: Target, engine: Target
) -> None:
    asked = {"input": "Hi.", "background": True}
    assert "`background`" in (await worker.post(RESPONSES, asked)).refusal
    assert (await engine.post(RESPONSES, asked)).answer["status"] == "queued"
