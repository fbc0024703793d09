import secrets
from collections.abc import Mapping

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.errors import InvalidHfToken, InvalidModelId, InvalidRequest
from router.requests.call import caller_token, parse
from router.requests.fields import DROPPED, REFUSED
from router.requests.routes import ROUTES
from router.secrets import Token
from tests.doubles import whole

CHAT = ROUTES["/v1/chat/completions"]
NATIVE = ROUTES["/generate"]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
    ),
    max_leaves=20,
)


def a_token() -> str:
    return "hf_" + secrets.token_hex(16)


def upstream(body: dict[str, object], path: str = CHAT.path, *hosts: str) -> dict[str, object]:
    call = parse(orjson.dumps(body), ROUTES[path], frozenset(hosts))
    content: dict[str, object] = orjson.loads(whole(call.upstream_body("served", "salt")))
    return content


def message(part: Mapping[str, object]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [part]}]}


# Reading


@pytest.mark.parametrize("many", [b"[],", b"{},", b"0,", b'"a":0,'])
def test_a_body_of_very_many_values_is_not_read(many: bytes) -> None:
    opened, closed = (b"{", b"}") if b":" in many else (b'{"a":[', b"]}")
    body = opened + many * 1_500_000 + many[:-1] + closed
    with pytest.raises(InvalidRequest, match="commas and brackets"):
        parse(body, CHAT)


def test_a_prompt_of_a_million_tokens_is_read() -> None:
    call = parse(orjson.dumps({"input_ids": list(range(1 << 20))}), NATIVE)
    assert call.upstream_body("served", None)


@given(st.binary(max_size=200) | json_values.map(orjson.dumps))
@example(b"")
@example(b"\xff")
@example(b'{"a": 1e400}')
@example(b'{"a": NaN}')
@example(b'{"a": "\\ud800"}')
@example(b"[" * 5000)
@example(b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}")
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_body_is_either_read_and_writable_or_an_invalid_request(body: bytes) -> None:
    try:
        call = parse(body, CHAT)
    except InvalidRequest:
        return
    orjson.loads(whole(call.upstream_body("served", "salt")))


@given(st.dictionaries(st.from_regex(r"x-\w*", fullmatch=True), json_values))
def test_what_the_router_does_not_know_goes_upstream_unchanged(body: dict[str, object]) -> None:
    assert upstream(body) == {**body, "model": "served", "cache_salt": "salt"}


def test_a_message_about_bad_json_repeats_nothing_of_the_body() -> None:
    token = a_token()
    with pytest.raises(InvalidRequest) as caught:
        parse(b'{"hf_token": "%s", oops}' % token.encode(), CHAT)
    assert token not in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_only_an_object_is_a_request(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="object"):
        parse(body, CHAT)


@pytest.mark.parametrize("model", [1, True, ["a/b"], {"id": "a/b"}])
def test_a_model_that_is_not_a_string_is_refused(model: object) -> None:
    with pytest.raises(InvalidRequest, match="`model`"):
        parse(orjson.dumps({"model": model}), CHAT)


@pytest.mark.parametrize("stream", [1, 0, "true", [], {}])
def test_stream_is_a_boolean_and_nothing_like_one(stream: object) -> None:
    with pytest.raises(InvalidRequest, match="`stream`"):
        parse(orjson.dumps({"stream": stream}), CHAT)


@pytest.mark.parametrize(("sent", "read"), [(True, True), (False, False), (None, False)])
def test_stream_is_read(sent: object, read: bool) -> None:
    assert parse(orjson.dumps({"stream": sent}), CHAT).stream is read


def test_of_duplicate_keys_the_last_is_read_and_the_only_one_sent() -> None:
    call = parse(b'{"model": "org/a", "hf_token": "x", "model": "org/b"}', CHAT)
    assert call.model == "org/b"
    assert call.upstream_body("served", None) == b'{"model":"served"}'


def test_a_call_prints_neither_token_nor_prompt() -> None:
    token = a_token()
    call = parse(orjson.dumps({"hf_token": token, "prompt": "my secret plan"}), CHAT)
    assert call.hf_token == token
    assert token not in repr(call)
    assert "secret plan" not in repr(call)


# The token


@given(st.none() | st.just(""))
def test_an_empty_or_missing_token_counts_as_none(value: str | None) -> None:
    assert caller_token(value, value) is None


def test_the_header_wins_over_the_field() -> None:
    header, field = a_token(), a_token()
    assert caller_token(header, field) == Token(header)
    assert caller_token("", field) == Token(field)
    assert caller_token(None, field) == Token(field)


@given(json_values.filter(lambda value: value is not None and value != ""))
def test_any_other_field_is_a_token_or_an_error(value: object) -> None:
    try:
        token = caller_token(None, value)
    except InvalidHfToken as error:
        assert len(str(value)) < 4 or str(value) not in error.message  # noqa: PT017
    else:
        assert isinstance(value, str)
        assert token == Token(value)


@pytest.mark.parametrize("prefix", ["Bearer ", " ", "\n"])
def test_a_dressed_up_token_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidHfToken):
        caller_token(prefix + a_token(), None)


# What goes upstream


@pytest.mark.parametrize("path", ROUTES)
def test_stream_goes_upstream_only_where_it_means_something(path: str) -> None:
    assert ("stream" in upstream({"stream": True}, path)) is ROUTES[path].streams


@pytest.mark.parametrize("path", ROUTES)
def test_no_route_forwards_a_token(path: str) -> None:
    assert "hf_token" not in upstream({"hf_token": a_token()}, path)


@pytest.mark.parametrize("path", ROUTES)
def test_the_model_is_rewritten_where_the_route_has_one(path: str) -> None:
    sent = upstream({"model": "org/name:adapter"}, path)
    assert sent.get("model") == ("served" if ROUTES[path].has_model else None)


@pytest.mark.parametrize("field", sorted(DROPPED))
def test_ids_and_hints_are_dropped(field: str) -> None:
    assert upstream({field: "mine"}).get(field) in (None, "salt")


@pytest.mark.parametrize("path", [path for path, route in ROUTES.items() if route.salted])
def test_the_salt_is_the_routers_whatever_the_caller_says(path: str) -> None:
    sent = upstream({"cache_salt": "yours", "extra_key": "yours"}, path)
    assert sent["cache_salt"] == "salt"
    assert "extra_key" not in sent


def test_no_salt_is_sent_where_there_is_none_or_no_place_for_it() -> None:
    assert b"cache_salt" not in parse(b"{}", CHAT).upstream_body("served", None)
    assert "cache_salt" not in upstream({}, "/v1/messages")


@pytest.mark.parametrize("field", sorted(REFUSED))
@pytest.mark.parametrize("path", [CHAT.path, "/generate", "/v1/tokenize"])
def test_a_field_that_would_change_the_answer_is_refused_by_name(field: str, path: str) -> None:
    with pytest.raises(InvalidRequest, match=f"`{field}`"):
        upstream({field: "x"}, path)


@pytest.mark.parametrize("nothing", [None, False, "", [], {}])
def test_a_refused_field_that_asks_for_nothing_is_dropped(nothing: object) -> None:
    assert upstream(dict.fromkeys(REFUSED, nothing)).keys() == {"model", "cache_salt"}


def test_the_native_route_takes_listed_fields_only() -> None:
    sent = upstream({"text": "hi", "return_logprob": True, "lora_id": None}, "/generate")
    assert sent == {"text": "hi", "return_logprob": True, "cache_salt": "salt"}
    with pytest.raises(InvalidRequest, match="`http_worker_ipc`"):
        upstream({"text": "hi", "http_worker_ipc": "ipc:///tmp/x"}, "/generate")


@pytest.mark.parametrize("sampling", [{"custom_params": {"a": 1}}, [{"custom_params": {}}]])
def test_custom_params_are_dropped_wherever_they_stand(sampling: object) -> None:
    assert "custom_params" not in str(upstream({"sampling_params": sampling}, "/generate"))


@pytest.mark.parametrize("asked", [{"store": True}, {"store": None}, {}])
def test_an_engine_is_told_to_keep_no_answer(asked: dict[str, object]) -> None:
    assert upstream(asked, "/v1/responses")["store"] is False


def test_a_callers_chat_template_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="chat_template"):
        upstream({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}})
    kept = {"enable_thinking": False}
    assert upstream({"chat_template_kwargs": kept})["chat_template_kwargs"] == kept


def test_very_many_salts_are_refused() -> None:
    salts = ["a" * 256] * 1024
    assert parse(orjson.dumps({"cache_salt": salts}), CHAT).cache_salt == salts
    with pytest.raises(InvalidRequest) as refused:
        parse(orjson.dumps({"cache_salt": [*salts, "a"]}), CHAT)
    assert refused.value.param == "cache_salt"


@pytest.mark.parametrize("salt", ["a" * 257, ["a", "a" * 257], 1, [1], {"a": "b"}])
def test_a_salt_that_is_long_or_no_string_is_refused(salt: object) -> None:
    with pytest.raises(InvalidRequest, match="`cache_salt`"):
        parse(orjson.dumps({"cache_salt": salt}), CHAT)


def test_a_long_name_of_a_model_is_refused() -> None:
    with pytest.raises(InvalidModelId):
        parse(orjson.dumps({"model": "a/" * 600}), CHAT)


@pytest.mark.parametrize("token", [1, True, ["hf_"], {"a": "b"}])
def test_a_token_that_is_no_string_is_refused(token: object) -> None:
    with pytest.raises(InvalidHfToken):
        parse(orjson.dumps({"hf_token": token}), CHAT)


# Onward


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_another_worker_reads_the_same_call_but_for_the_token(path: str) -> None:
    body = {
        "model": "org/name",
        "hf_token": a_token(),
        "stream": True,
        "cache_salt": "mine",
        "messages": [{"role": "user", "content": "é"}],
        "input": "a",
        "text": "a",
        "rid": "dropped",
        "unknown": {"to": ["us"]},
    }
    if path == NATIVE.path:
        body = {key: body[key] for key in ("model", "hf_token", "stream", "cache_salt", "text")}
    here = parse(orjson.dumps(body), ROUTES[path])
    there = parse(whole(here.onward_body()), ROUTES[path])
    assert here._replace(hf_token=None) == there


def test_a_call_that_names_no_model_names_none_onward() -> None:
    assert parse(whole(parse(b"{}", CHAT).onward_body()), CHAT).model is None
