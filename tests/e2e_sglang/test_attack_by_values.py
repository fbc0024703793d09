"""Values that kill or hang an engine. The worker refuses each, and the engine survives."""

from __future__ import annotations

import pytest

from tests.e2e_sglang.harness import APPLE, PEAR, Harness, Json
from tests.e2e_sglang.target import Target
from tests.tiny_models import VOCABULARY

pytestmark = pytest.mark.sglang

CHAT, COMPLETIONS, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
ANTHROPIC, RESPONSES, SCORE = "/v1/messages", "/v1/responses", "/v1/score"
SAYS: Json = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 8}
TEXT: Json = {"text": "Hi."}
ASKED: Json = {"prompt": "Hi.", "max_tokens": 8}
HOT: Json = {"temperature": 0.8, "top_p": 0.9}
ENDS: Json = {"regex": "a", "min_tokens": 5}
CIRCLE: Json = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
BEYOND = VOCABULARY + 1  # an index beyond the engine's tables


def sampling(**fields: object) -> Json:
    return {**TEXT, "sampling_params": {"max_new_tokens": 8, **fields}}


# `test_crash_authors` shows that these end an engine.
PAST_THE_WORKER: tuple[tuple[str, Json], ...] = (
    (COMPLETIONS, {**ASKED, "prompt": [5, 1_000_000]}),
    (CHAT, {**SAYS, **HOT, **ENDS}),
)
# Each of these ends or hangs SGLang 0.5.23 at once.
KILLERS: list[tuple[str, Json]] = [
    *PAST_THE_WORKER,
    (COMPLETIONS, {**ASKED, "prompt": [[5], [BEYOND]]}),
    (COMPLETIONS, {**ASKED, "prompt": ["Hi.", ""]}),
    (COMPLETIONS, {**ASKED, "logprobs": 1_000_000}),
    (COMPLETIONS, {**ASKED, "logprobs": BEYOND}),
    (COMPLETIONS, {**ASKED, "stop_regex": "(.|.)*#$", "max_tokens": 60}),
    (COMPLETIONS, {**ASKED, **HOT, "json_schema": '{"const": 1}', "min_tokens": 6}),
    (COMPLETIONS, {**ASKED, **HOT, "json_schema": '{"$ref": "#"}'}),
    (CHAT, {**SAYS, "input_ids": [-1]}),
    (CHAT, {**SAYS, "input_ids": [BEYOND]}),
    (CHAT, {**SAYS, "logprobs": True, "top_logprobs": BEYOND}),
    (CHAT, {**SAYS, "top_k": 2**62}),
    (CHAT, {**SAYS, "min_tokens": 2, "stop_token_ids": [1_000_000]}),
    (CHAT, {**SAYS, "min_tokens": 2, "stop_token_ids": [-1]}),
    (CHAT, {**SAYS, **HOT, "min_tokens": 2, "stop_token_ids": list(range(VOCABULARY))}),
    (CHAT, {**SAYS, **HOT, "logit_bias": {"5": 3e38, "6": -3e38}}),
    (CHAT, {**SAYS, **HOT, "logit_bias": {str(i): -1e39 for i in range(VOCABULARY)}}),
    (CHAT, {**SAYS, "repetition_penalty": 1e-40, "top_p": 0.9}),
    (CHAT, {**SAYS, "temperature": 1e39, "regex": "[a-z]+", "top_p": 0.9}),
    (CHAT, {**SAYS, **HOT, "response_format": CIRCLE}),
    (CHAT, {**SAYS, **HOT, "ebnf": "root ::= root"}),
    (CHAT, {**SAYS, **HOT, "ebnf": 'root ::= "a" x\nx ::= x'}),
    (CHAT, {**SAYS, "regex": "(.{0,1000}){0,1000}z", "max_tokens": 300}),
    (CHAT, {**SAYS, "regex": "((.*)*)*z", "max_tokens": 300}),
    (RESPONSES, {"input": "Hi.", "top_k": 2**62}),
    (RESPONSES, {"input": "Hi.", "top_logprobs": BEYOND}),
    (ANTHROPIC, {**SAYS, "top_k": 2**31}),
    (NATIVE, {"input_ids": [-7]}),
    (NATIVE, {"input_ids": [[1], [BEYOND]]}),
    (NATIVE, {**TEXT, "return_logprob": True, "logprob_start_len": -5}),
    (NATIVE, {**TEXT, "return_logprob": True, "top_logprobs_num": BEYOND}),
    (NATIVE, sampling(top_k=2**31)),
    (NATIVE, sampling(top_k=2**63)),
    (NATIVE, sampling(min_new_tokens=2, stop_token_ids=[2**31])),
    (NATIVE, sampling(regex="a", min_new_tokens=5, **HOT)),
    (SCORE, {"query": [1_000_000], "items": [[2]], "label_token_ids": [1]}),
    (SCORE, {"query": [1], "items": [[2]], "label_token_ids": [1_000_000]}),
]


@pytest.mark.parametrize(("path", "body"), KILLERS)
async def test_a_value_that_would_kill_the_engine_is_refused(
    path: str, body: Json, harness: Harness, worker: Target, engine: Target
) -> None:
    before = harness.engine(APPLE)
    field = (await worker.post(path, body)).content["error"]
    assert field["type"] == "invalid_request_error"
    assert (await worker.post(COMPLETIONS, ASKED)).answer["choices"]
    assert harness.engine(APPLE) == before


@pytest.mark.parametrize("ids", [[VOCABULARY], [-1], [[1], [2**31]]])
async def test_an_embedder_is_asked_of_its_own_tokens_alone(
    ids: list[object], harness: Harness
) -> None:
    pear = Target(harness.worker.url, PEAR)
    assert "`input`" in (await pear.post("/v1/embeddings", {"input": ids})).refusal
    assert (await pear.post("/v1/embeddings", {"input": [VOCABULARY - 1]})).answer
