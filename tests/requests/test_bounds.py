"""The allowed values in a body, for every route."""

from __future__ import annotations

import ast
import math
import pickle
from collections.abc import Iterator
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequest
from router.requests.bounds import BOUNDS
from router.requests.call import parse
from router.requests.fields import DROPPED, GENERATE, REFUSED
from router.requests.routes import ROUTES
from router.requests.rules import Demands
from tests.sglang_source import fields_of

Json = dict[str, object]

CHAT, COMPLETIONS, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
RESPONSES, ANTHROPIC, SCORE = "/v1/responses", "/v1/messages", "/v1/score"
EMBEDDINGS, TOKENIZE, DETOKENIZE = "/v1/embeddings", "/v1/tokenize", "/v1/detokenize"


def demands(path: str, body: Json) -> Demands:
    return parse(orjson.dumps(body), ROUTES[path]).demands


def refusal(path: str, body: Json) -> str:
    """The field that the refusal names."""
    with pytest.raises(InvalidRequest) as refused:
        demands(path, body)
    assert f"`{refused.value.param}`" in str(refused.value)
    return str(refused.value.param)


# Each killed or hung SGLang 0.5.23, or is of the same kind.
WRONG: list[tuple[str, Json]] = [
    (NATIVE, {"input_ids": [-7]}),
    (NATIVE, {"input_ids": [[1], [-1]]}),
    (NATIVE, {"input_ids": [1.5]}),
    (NATIVE, {"input_ids": [True]}),
    (NATIVE, {"input_ids": [1, [2]]}),
    (NATIVE, {"text": ["a", None]}),
    (NATIVE, {"text": ""}),
    (NATIVE, {"text": ["a", ""]}),
    (NATIVE, {"input_ids": [[1], []]}),
    (NATIVE, {"text": ["a"] * 4097}),
    (NATIVE, {"logprob_start_len": -5}),
    (NATIVE, {"logprob_start_len": [0, -9]}),
    (NATIVE, {"top_logprobs_num": 1_000_000}),
    (NATIVE, {"top_logprobs_num": [0, -1]}),
    (NATIVE, {"token_ids_logprob": [-1]}),
    (NATIVE, {"token_ids_logprob": [1] * 129}),
    (NATIVE, {"token_ids_logprob": [[1], [-1]]}),
    (NATIVE, {"sampling_params": "x"}),
    (NATIVE, {"sampling_params.top_k": 2**62}),
    (NATIVE, {"sampling_params.top_k": 2**31}),
    (NATIVE, {"sampling_params.stop_token_ids": [-1]}),
    (NATIVE, {"sampling_params.temperature": 1e39}),
    (NATIVE, {"sampling_params.n": 10**6}),
    (NATIVE, {"sampling_params.max_new_tokens": 2**63}),
    (NATIVE, {"sampling_params.stream_interval": -1}),
    (CHAT, {"input_ids": [-1]}),
    (CHAT, {"top_k": 2**62}),
    (CHAT, {"top_k": True}),
    (CHAT, {"top_k": "5"}),
    (CHAT, {"top_logprobs": 10**6}),
    (CHAT, {"top_logprobs": -1}),
    (CHAT, {"logprobs": "yes"}),
    (CHAT, {"temperature": 1e39}),
    (CHAT, {"temperature": -1}),
    (CHAT, {"repetition_penalty": 1e-300}),
    (CHAT, {"logit_bias": {"5": 3e38}}),
    (CHAT, {"logit_bias": {"5": -1e308}}),
    (CHAT, {"logit_bias": {"-1": 1}}),
    (CHAT, {"logit_bias": {"1_0": 1}}),
    (CHAT, {"logit_bias": {"5": True}}),
    (CHAT, {"logit_bias": [1]}),
    (CHAT, {"stop_token_ids": [-1]}),
    (CHAT, {"stop_token_ids": list(range(1000))}),
    (CHAT, {"stop": ["a"] * 33}),
    (CHAT, {"stop": "a" * 1025}),
    (CHAT, {"stop": [None]}),
    (CHAT, {"n": 0}),
    (CHAT, {"n": 129}),
    (CHAT, {"n": 1.5}),
    (CHAT, {"seed": 2**63}),
    (CHAT, {"max_tokens": -1}),
    (CHAT, {"messages": [{}] * 16385}),
    (CHAT, {"messages": [{"content": [[]] * 300_000}]}),
    (CHAT, {"nobody_knows_this": [[]] * 20_000}),
    (CHAT, {"nobody_knows_this": {str(i): 0 for i in range(20_000)}}),
    (CHAT, {"tools": [{}] * 1025}),
    (CHAT, {"chat_template_kwargs.spaces_between_special_tokens": "x"}),
    (CHAT, {"chat_template_kwargs": {"max_length": 10**12}}),
    (CHAT, {"chat_template_kwargs": {"a": [0] * 2000}}),
    (CHAT, {"max_dynamic_patch": 10**9}),
    (COMPLETIONS, {"prompt": [-5]}),
    (COMPLETIONS, {"prompt": [[1], [2.5]]}),
    (COMPLETIONS, {"prompt": {"a": 1}}),
    (COMPLETIONS, {"logprobs": 1_000_000}),
    (COMPLETIONS, {"logprobs": -1}),
    (COMPLETIONS, {"min_tokens": 2**62}),
    (RESPONSES, {"top_k": 2**62}),
    (RESPONSES, {"top_logprobs": 10**6}),
    (RESPONSES, {"max_output_tokens": -1}),
    (ANTHROPIC, {"top_k": 2**62}),
    (ANTHROPIC, {"temperature": 1e39}),
    (ANTHROPIC, {"stop_sequences": ["a" * 2000]}),
    (SCORE, {"label_token_ids": [-1]}),
    (SCORE, {"label_token_ids": [1] * 5000}),
    (SCORE, {"query": [-1]}),
    (SCORE, {"items": [[-1]]}),
    (EMBEDDINGS, {"input": [-1]}),
    (EMBEDDINGS, {"input": ["a"] * 4097}),
    (EMBEDDINGS, {"dimensions": 2**40}),
    ("/v1/rerank", {"top_n": -1}),
    ("/v1/rerank", {"documents": ["a"] * 4097}),
    (DETOKENIZE, {"tokens": [-1]}),
    (TOKENIZE, {"prompt": ["a"] * 4097}),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_a_value_out_of_range_is_refused_by_its_name(path: str, body: Json) -> None:
    [(name, value)] = body.items()
    outer, _, inner = name.partition(".")
    assert refusal(path, {outer: {inner: value}} if inner else {outer: value}) == name


RIGHT: list[tuple[str, Json]] = [
    (CHAT, {"max_tokens": None, "logprobs": True, "top_logprobs": 20, "n": 1}),
    (CHAT, {"temperature": 0, "top_p": 1, "top_k": -1, "min_p": 0.0, "seed": -1}),
    (CHAT, {"logit_bias": {"50256": -100}, "stop": None, "stream_options": None}),
    (CHAT, {"stop": ["\n", "###"], "max_completion_tokens": 16, "frequency_penalty": -2}),
    (CHAT, {"max_tokens": 16.0, "response_format": {"type": "text"}, "min_tokens": 3}),
    (CHAT, {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"}),
    (CHAT, {"tool_choice": "auto", "tools": [], "parallel_tool_calls": True, "min_tokens": 1}),
    (CHAT, {"return_hidden_states": "last", "ignore_eos": False, "unknown": 2**62}),
    (COMPLETIONS, {"prompt": "Hi.", "logprobs": 5, "best_of": 1, "echo": True}),
    (COMPLETIONS, {"prompt": ["Hi.", "Ho."], "logprobs": None, "suffix": None, "n": 2}),
    (COMPLETIONS, {"prompt": [1, 2, 3], "logprobs": True}),
    (RESPONSES, {"input": "Hi.", "top_logprobs": 0, "max_output_tokens": None}),
    (RESPONSES, {"input": [{"role": "user", "content": "Hi."}], "tools": []}),
    (ANTHROPIC, {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    (ANTHROPIC, {"system": [{"type": "text", "text": "Hi."}], "stop_sequences": ["x"]}),
    (NATIVE, {"text": "Hi.", "sampling_params": None, "return_logprob": True}),
    (NATIVE, {"text": ["a", "b"], "sampling_params": [{"n": 1}, {"n": 1}]}),
    (NATIVE, {"input_ids": [[1], [2]], "logprob_start_len": [0, -1]}),
    (NATIVE, {"text": "Hi.", "sampling_params": {"stop_regex": None, "max_new_tokens": None}}),
    (SCORE, {"query": "a", "items": ["b"], "label_token_ids": [1, 2]}),
    (EMBEDDINGS, {"input": ["a", "b"], "encoding_format": "base64", "dimensions": 64}),
    (EMBEDDINGS, {"input": [{"text": "a"}]}),
    (EMBEDDINGS, {"input": [[1, 2], [3]]}),
    ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 3}),
    (DETOKENIZE, {"tokens": [1, 2]}),
    (TOKENIZE, {"prompt": ["a", ""], "add_special_tokens": False}),
    (DETOKENIZE, {"tokens": [[1], []]}),
]


@pytest.mark.parametrize(("path", "body"), RIGHT)
def test_what_clients_send_passes(path: str, body: Json) -> None:
    content = parse(orjson.dumps(body), ROUTES[path]).content
    assert isinstance(content, bytes)
    kept = {k: v for k, v in body.items() if v is not None or k not in BOUNDS[path]}
    assert orjson.loads(content) == kept | ({"store": False} if path == RESPONSES else {})


@pytest.mark.parametrize("path", BOUNDS)
def test_null_is_a_field_left_out_where_the_router_knows_it(path: str) -> None:
    nulls: Json = dict.fromkeys(BOUNDS[path])
    content = parse(orjson.dumps({**nulls, "unknown": 0}), ROUTES[path]).content
    assert isinstance(content, bytes)
    assert not nulls.keys() & orjson.loads(content).keys()


@pytest.mark.parametrize("ids", ["Hi.", ["Hi."], []])
def test_text_is_no_list_of_token_ids(ids: object) -> None:
    assert refusal(CHAT, {"messages": [], "input_ids": ids}) == "input_ids"
    assert refusal(NATIVE, {"input_ids": ids}) == "input_ids"


@pytest.mark.parametrize("text", [[1], [[1]], 1])
def test_token_ids_are_no_text(text: object) -> None:
    assert refusal(NATIVE, {"text": text}) == "text"


# Values that depend on the model


@pytest.mark.parametrize(
    ("path", "body", "vocabulary"),
    [
        (COMPLETIONS, {"prompt": [5, 999]}, 1000),
        (COMPLETIONS, {"prompt": [[5], [999]]}, 1000),
        (COMPLETIONS, {"prompt": "a", "logprobs": 100}, 100),
        (CHAT, {"input_ids": [999]}, 1000),
        (CHAT, {"logit_bias": {"3": 1, "999": -1}}, 1000),
        (CHAT, {"stop_token_ids": [999], "min_tokens": 2}, 1000),
        (NATIVE, {"token_ids_logprob": [[1], [999]]}, 1000),
        (NATIVE, {"sampling_params": [{"stop_token_ids": [7]}, {"logit_bias": {"9": 1}}]}, 10),
        (SCORE, {"query": [1], "items": [[2]], "label_token_ids": [999]}, 1000),
        (EMBEDDINGS, {"input": [999]}, 1000),
        (DETOKENIZE, {"tokens": [999]}, 1000),
        (CHAT, {"messages": []}, 0),
    ],
)
def test_the_highest_token_id_is_remembered(path: str, body: Json, vocabulary: int) -> None:
    assert demands(path, body).vocabulary == vocabulary


def test_a_request_that_goes_beyond_the_vocabulary_is_refused() -> None:
    asked = demands(COMPLETIONS, {"prompt": [5, 264], "stop_token_ids": [1]})
    with pytest.raises(InvalidRequest) as refused:
        asked.check(264)
    assert refused.value.param == "prompt"
    assert "264 tokens: 0 to 263" in str(refused.value)


def test_a_vocabulary_that_suffices_or_is_unknown_is_no_reason_to_refuse() -> None:
    asked = demands(COMPLETIONS, {"prompt": [5, 264]})
    asked.check(265)
    asked.check(None)


def test_demands_are_small_and_can_be_sent_to_another_process() -> None:
    asked = demands(COMPLETIONS, {"prompt": [1] * 100_000})
    assert pickle.loads(pickle.dumps(asked)) == asked
    assert len(pickle.dumps(asked)) < 200


# Values that are wrong only together


def test_each_prompt_times_n_counts() -> None:
    assert refusal(COMPLETIONS, {"prompt": ["a"] * 100, "n": 41}) == "n"
    assert refusal(NATIVE, {"text": ["a"] * 100, "sampling_params": {"n": 41}}) == "n"
    assert demands(COMPLETIONS, {"prompt": ["a"] * 100, "n": 40}) == Demands()
    assert demands(COMPLETIONS, {"prompt": ["a"] * 4096, "n": 1}) == Demands()


LONG = "a" * 10_000


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (COMPLETIONS, {"prompt": LONG, "echo": True, "logprobs": 100}, "logprobs"),
        (COMPLETIONS, {"prompt": [LONG] * 2, "echo": True, "logprobs": 50}, "logprobs"),
        (COMPLETIONS, {"prompt": [1] * 10_000, "echo": True, "logprobs": 100}, "logprobs"),
        (
            NATIVE,
            {"text": LONG, "return_logprob": True, "top_logprobs_num": [1, 100]},
            "top_logprobs_num",
        ),
        (NATIVE, {"text": LONG, "token_ids_logprob": [[1], [1] * 100]}, "top_logprobs_num"),
    ],
)
def test_many_logprobs_of_a_long_prompt_are_refused(path: str, body: Json, named: str) -> None:
    assert refusal(path, body) == named
    few = {"logprobs": 5} if path == COMPLETIONS else {"top_logprobs_num": 5}
    demands(path, {**body, **few, "token_ids_logprob": [1]})


@pytest.mark.parametrize(
    "grammar",
    [
        {"regex": "a"},
        {"ebnf": 'root ::= "a"'},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": 1}}}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ],
)
def test_an_answer_with_a_form_has_no_least_length(grammar: Json) -> None:
    assert refusal(CHAT, grammar | {"min_tokens": 5}) == "min_tokens"
    assert demands(CHAT, grammar | {"min_tokens": 0}) == Demands()


def test_the_same_on_generate() -> None:
    sampling: Json = {"regex": "a", "min_new_tokens": 5}
    assert refusal(NATIVE, {"sampling_params": [{}, sampling]}) == "min_new_tokens"


@pytest.mark.parametrize(
    "name", ["stop_regex", "stop_regex_strs", "is_normalized", "beam_width", "lora"]
)
def test_what_is_not_listed_does_not_pass_inside_sampling_params(name: str) -> None:
    sampling = {"max_new_tokens": 4, name: 1}
    assert refusal(NATIVE, {"sampling_params": sampling}) == f"sampling_params.{name}"
    assert refusal(NATIVE, {"sampling_params": [sampling]}) == f"sampling_params.{name}"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, ANTHROPIC, NATIVE])
def test_stop_regex_is_refused_everywhere(path: str) -> None:
    assert refusal(path, {"stop_regex": "(.|.)*#$"}) == "stop_regex"
    assert demands(path, {"stop_regex": None}) == Demands()


def test_the_options_of_a_picture_are_bounded() -> None:
    picture = {"url": "data:image/png;base64,iVBORw0KGgo=", "max_dynamic_patch": 10**9}
    parts = [{"type": "image_url", "image_url": picture}]
    body: Json = {"messages": [{"role": "user", "content": parts}]}
    with pytest.raises(InvalidRequest, match="`max_dynamic_patch`"):
        demands(CHAT, body)


# Any body

EXTREMES = st.sampled_from([-1, 0, 1, 2**31, 2**62, 2**63, -(2**63), 1e39, -1e308, 1e-300, 0.5])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | EXTREMES
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["1", "264", "x", "n"]), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.sampled_from(sorted(BOUNDS)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.dictionaries(st.sampled_from(sorted(BOUNDS[path])), VALUES, min_size=1, max_size=3),
    )
)
FOREIGN: list[Json] = [
    {"tools": ["x"]},
    {"tools": [[{}]]},
    {"echo": True, "logprobs": 1, "prompt": ["a", 5]},
    {"return_logprob": True, "top_logprobs_num": 1, "text": ["a", None]},
    {"return_logprob": True, "top_logprobs_num": 1, "input_ids": [[1], 1.5]},
]


@pytest.mark.parametrize("body", FOREIGN)
@pytest.mark.parametrize("path", BOUNDS)
def test_fields_of_other_routes_break_nothing(path: str, body: Json) -> None:
    with suppress(InvalidRequest):  # any other error would be a defect and a 500
        demands(path, body)


SEEDS = {"seed", "sampling_seed"}  # hashed, but not used in computations
OF_ANYTHING = {"messages", "tools", "system", "input", "query", "documents", "text"} | {
    "response_format",
    "output_config",
}


@given(BODIES)
def test_whatever_passes_is_in_range(case: tuple[str, Json]) -> None:
    path, body = case
    try:
        asked = demands(path, body)
    except InvalidRequest:
        return
    for name in body.keys() - SEEDS - OF_ANYTHING:
        for number in numbers(body[name]):
            assert -(2**31) < number < 2**31
            assert name != "repetition_penalty" or number > 1e-3
    assert asked.vocabulary <= 2**31


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        assert math.isfinite(value)
        yield value


# Drift: a number in a new SGLang that nobody has bounded

NUMBERS_OF: dict[str, tuple[str, str]] = {
    CHAT: ("entrypoints/openai/protocol.py", "ChatCompletionRequest"),
    COMPLETIONS: ("entrypoints/openai/protocol.py", "CompletionRequest"),
    RESPONSES: ("entrypoints/openai/protocol.py", "ResponsesRequest"),
    EMBEDDINGS: ("entrypoints/openai/protocol.py", "EmbeddingRequest"),
    "/v1/classify": ("entrypoints/openai/protocol.py", "ClassifyRequest"),
    "/v1/rerank": ("entrypoints/openai/protocol.py", "V1RerankReqInput"),
    SCORE: ("entrypoints/openai/protocol.py", "ScoringRequest"),
    TOKENIZE: ("entrypoints/openai/protocol.py", "TokenizeRequest"),
    DETOKENIZE: ("entrypoints/openai/protocol.py", "DetokenizeRequest"),
    ANTHROPIC: ("entrypoints/anthropic/protocol.py", "AnthropicMessagesRequest"),
    "/v1/messages/count_tokens": (
        "entrypoints/anthropic/protocol.py",
        "AnthropicCountTokensRequest",
    ),
    NATIVE: ("managers/io_struct.py", "GenerateReqInput"),
}
HARMLESS = {
    "best_of": "SGLang does not read it",
    "reasoning_effort": "pydantic bounds it: a word, or 0 to 0.99",
}


def numbers_of(file: str, name: str) -> set[str]:
    """The fields that can hold a number in one of SGLang's classes."""
    return {
        field
        for field, annotation in fields_of(file, name)
        if {"int", "float", "ClassifyInput", "EmbeddingInput"}
        & {part.id for part in ast.walk(annotation) if isinstance(part, ast.Name)}
    }


@pytest.mark.parametrize("path", NUMBERS_OF)
def test_every_number_that_sglang_reads_has_a_rule_or_a_reason(path: str) -> None:
    offered = numbers_of(*NUMBERS_OF[path])
    if path == NATIVE:
        offered &= GENERATE
    assert offered - BOUNDS[path].keys() - DROPPED - REFUSED.keys() - HARMLESS.keys() == set()


def test_every_number_among_the_sampling_params_has_a_rule_or_does_not_pass() -> None:
    offered = numbers_of("sampling/sampling_params.py", "SamplingParams")
    assert "top_k" in offered
    for name in offered:
        with pytest.raises(InvalidRequest):
            demands(NATIVE, {"sampling_params": {name: [{}]}})


def test_a_body_has_a_bounded_number_of_fields() -> None:
    fields: Json = {f"k{number}": 0 for number in range(256)}
    assert parse(orjson.dumps(fields), ROUTES[CHAT])
    with pytest.raises(InvalidRequest, match="too many fields: 256"):
        parse(orjson.dumps({**fields, "one": 1}), ROUTES[CHAT])
