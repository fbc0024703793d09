from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidHfToken, InvalidRequest, MethodNotAllowed
from router.requests.request import Request
from router.runpod.inputs import ListModels, read
from tests.doubles import whole

CHAT = {"messages": [{"role": "user", "content": "hi"}]}

routes = st.sampled_from(["/v1/models", "v1/chat/completions", "/generate", "%", "", 7])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def route_and_body(content: object) -> tuple[str, dict[str, object]]:
    request = read(content)
    assert isinstance(request, Request)
    return request.route, orjson.loads(whole(request.body))


@pytest.mark.parametrize(
    ("content", "route"),
    [
        (CHAT, "/v1/chat/completions"),
        ({"prompt": "Once"}, "/v1/completions"),
        ({"input": ["a", "b"]}, "/v1/embeddings"),
        ({"text": "Once", "sampling_params": {"max_new_tokens": 4}}, "/generate"),
        ({"input_ids": [1, 2], "stream": True}, "/generate"),
    ],
)
def test_a_bare_body_is_known_by_its_fields(content: dict[str, object], route: str) -> None:
    named = {**content, "model": "org/name", "hf_token": "x" * 8}
    assert route_and_body(content) == (route, content)
    assert route_and_body(named) == (route, named)


@pytest.mark.parametrize(
    "route",
    [
        "/v1/chat/completions",
        "v1/chat/completions",
        "/openai/v1/chat/completions/",
        "/v1/chat/completions?beta=true",
        "/v1/chat%2Fcompletions",
        "/openai/chat/completions",
        "chat/completions",
    ],
)
def test_an_openai_route_comes_with_its_body(route: str) -> None:
    job = {"openai_route": route, "openai_input": CHAT}
    assert route_and_body(job) == ("/v1/chat/completions", CHAT)
    job = {"route": route, "body": CHAT}
    assert route_and_body(job) == ("/v1/chat/completions", CHAT)


@pytest.mark.parametrize("method", [{}, *({"method": m} for m in ("POST", "post", "", None))])
def test_a_method_beside_a_route_is_the_routes_own_or_left_out(
    method: dict[str, object],
) -> None:
    job = {"route": "/v1/chat/completions", "body": CHAT, **method}
    assert route_and_body(job) == ("/v1/chat/completions", CHAT)


@pytest.mark.parametrize("route", ["/v1/models", "models", "/openai/v1/models"])
@pytest.mark.parametrize("more", [{}, {"method": "GET"}, {"method": "get", "body": None}])
def test_the_models_are_got_by_their_route(route: str, more: dict[str, object]) -> None:
    assert read({"route": route, **more}) == ListModels("", None)
    assert read({"route": f"{route}/a/b", "hf_token": "x", **more}) == ListModels("a/b", "x")


@pytest.mark.parametrize(
    ("route", "method", "takes"),
    [
        ("/v1/chat/completions", "GET", "POST"),
        ("/rerank", "DELETE", "POST"),
        ("/v1/models", "POST", "GET"),
        ("/v1/models/a/b", "DELETE", "GET"),
    ],
)
def test_a_method_that_a_route_does_not_take_is_refused(
    route: str, method: str, takes: str
) -> None:
    with pytest.raises(MethodNotAllowed, match=f"takes {takes}"):
        read({"route": route, "method": method, "body": CHAT})


def test_a_route_in_a_bare_body_is_a_field_like_others() -> None:
    job = {**CHAT, "route": "fallback"}
    assert route_and_body(job) == ("/v1/chat/completions", job)


def test_a_route_that_is_none_stays_as_it_is() -> None:
    for route in ("/flush_cache", "/v1/none", "/health"):
        assert route_and_body({"route": route, "method": "GET"}) == (route, {})


def test_a_route_without_a_version_is_one_where_both_exist() -> None:
    assert route_and_body({"route": "/rerank", "body": {"query": "x"}})[0] == "/rerank"
    assert route_and_body({"route": "/embeddings", "body": {"input": "x"}})[0] == (
        "/v1/embeddings"
    )


def test_an_openai_input_without_a_route_is_known_by_its_fields() -> None:
    job = {"openai_input": CHAT, "model": "a/b"}
    assert route_and_body(job) == ("/v1/chat/completions", {**CHAT, "model": "a/b"})


def test_what_stands_beside_the_body_counts_where_the_body_has_none() -> None:
    job = {"openai_route": "/v1/completions", "model": "a/b", "hf_token": "outer-token"}
    beside = route_and_body({**job, "openai_input": {"prompt": "x"}})[1]
    assert beside == {"prompt": "x", "model": "a/b", "hf_token": "outer-token"}
    inside = {"prompt": "x", "model": "c/d", "hf_token": "inner-token"}
    assert route_and_body({**job, "openai_input": inside})[1] == inside


@pytest.mark.parametrize("body", [{}, {"openai_input": None}, {"openai_input": {}}])
def test_the_models_are_asked_for_without_a_body(body: dict[str, object]) -> None:
    assert read({"openai_route": "/v1/models", **body}) == ListModels("", None)
    assert read({"openai_route": "/v1/models/org/name", **body}) == ListModels("org/name", None)
    asked = read({"openai_route": "/v1/models", "hf_token": "a-token", **body})
    assert asked == ListModels("", "a-token")


@pytest.mark.parametrize(
    "content",
    [
        *(None, "text", [], {}, {"model": "a/b"}, {"openai_route": 7}, {"prompt": 2**80}),
        {"openai_route": "/v1/completions", "openai_input": "text"},
        *({"openai_input": "text"}, {"route": 7, "body": {}}, {"body": CHAT}),
        {"route": "/v1/completions", "body": '{"prompt": "x"}'},
        {"route": "/v1/completions", "body": {}, "method": 7},
    ],
)
def test_what_is_no_form_is_refused(content: object) -> None:
    with pytest.raises(InvalidRequest):
        read(content)


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("/v1/models/org%2Fname", "org/name"),
        ("/v1/models/org/name@refs%2Fpr%2F1?x=1", "org/name@refs/pr/1"),
        ("/v1/models/org/name%40v1", "org/name@v1"),
        ("/v1/models/org/name%2540v1", "org/name%40v1"),
        ("/v1/models?limit=1", ""),
    ],
)
def test_a_models_name_is_written_as_over_http(route: str, name: str) -> None:
    assert read({"openai_route": route}) == ListModels(name, None)


@pytest.mark.parametrize("field", ["prompt", "messages"])
def test_sampling_params_beside_a_prompt_are_merged_in(field: str) -> None:
    job = {field: "x", "model": "a/b", "sampling_params": {"temperature": 0, "max_tokens": 9}}
    merged = {field: "x", "model": "a/b", "temperature": 0, "max_tokens": 9}
    assert route_and_body(job)[1] == merged


def test_a_field_beside_the_sampling_params_wins() -> None:
    job = {"prompt": "x", "max_tokens": 1, "sampling_params": {"max_tokens": 9, "n": 2}}
    assert route_and_body(job)[1] == {"prompt": "x", "max_tokens": 1, "n": 2}


def test_sglangs_own_name_for_a_limit_is_understood_in_sampling_params() -> None:
    job = {"prompt": "x", "sampling_params": {"max_new_tokens": 9}}
    assert route_and_body(job)[1] == {"prompt": "x", "max_tokens": 9}
    job = {"prompt": "x", "sampling_params": {"max_new_tokens": 9, "max_tokens": 5}}
    assert route_and_body(job)[1] == {"prompt": "x", "max_tokens": 5}


def test_sampling_params_that_are_no_object_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        read({"prompt": "x", "sampling_params": [1]})
    assert route_and_body({"prompt": "x", "sampling_params": None})[1] == {"prompt": "x"}


def test_a_token_that_is_no_string_is_refused() -> None:
    with pytest.raises(InvalidHfToken):
        read({"openai_route": "/v1/models", "hf_token": 7})


@given(
    json_values
    | st.fixed_dictionaries(
        {"route": routes | json_values, "body": json_values},
        optional={"method": json_values, "openai_route": routes, "openai_input": json_values},
    )
)
def test_any_input_is_read_or_refused(content: object) -> None:
    with suppress(InvalidRequest, InvalidHfToken, MethodNotAllowed):
        assert isinstance(read(content), Request | ListModels)


@pytest.mark.parametrize(
    "route",
    ["/v1/models/" + "%41" * 700, "/v1/chat/completions" * 200],
    ids=["escapes", "repeats"],
)
def test_a_long_route_is_none(route: str) -> None:
    request = read({"openai_route": route, "openai_input": {}})
    assert isinstance(request, Request)
    assert request.route == ""
