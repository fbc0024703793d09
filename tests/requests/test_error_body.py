import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ModelLoading, ModelNotFound, QueueFull
from router.requests.error_body import (
    engine_error,
    envelope,
    envelope_headers,
    hide_paths,
    split_events,
    sse_error,
)


def test_an_error_is_told_in_openais_envelope() -> None:
    assert orjson.loads(envelope(ModelNotFound("no such model"))) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (4.1, 5)])
def test_retry_after_is_in_whole_seconds_in_header_and_body(seconds: float, told: int) -> None:
    error = QueueFull("try later", retry_after=seconds)
    assert envelope_headers(error)["Retry-After"] == str(told)
    assert orjson.loads(envelope(error))["error"]["retry_after"] == told


def test_no_retry_after_where_waiting_does_not_help() -> None:
    assert envelope_headers(ModelNotFound("no")) == {"Content-Type": "application/json"}
    assert "retry_after" not in orjson.loads(envelope(ModelNotFound("no")))["error"]


def test_an_error_in_a_stream_is_an_event_and_then_the_end() -> None:
    error = ModelLoading("line one\nline two")
    first, last, rest = sse_error(error).split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    assert first.removeprefix(b"data: ") == envelope(error)


events = st.lists(
    st.binary(min_size=1, max_size=20).map(
        lambda b: b.replace(b"\n", b".").replace(b"\r", b".")
    ),
    max_size=6,
)


@given(events, st.sampled_from([b"\n\n", b"\r\n\r\n"]), st.data())
def test_events_cut_anywhere_come_out_whole_and_in_order(
    lines: list[bytes], blank: bytes, data: st.DataObject
) -> None:
    stream = b"".join(line + blank for line in lines)
    buffer, out = b"", []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer, stream = buffer + stream[:size], stream[size:]
        whole, buffer = split_events(buffer)
        assert whole == b"" or whole.endswith(blank)
        out.append(whole)
    assert buffer == b""
    assert b"".join(out) == b"".join(line + blank for line in lines)


@given(st.binary())
def test_splitting_loses_no_byte(buffer: bytes) -> None:
    whole, rest = split_events(buffer)
    assert whole + rest == buffer
    assert split_events(rest) == (b"", rest)


# Errors of the engine


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "too long", "type": "BadRequest", "code": 400},
        {"error": {"message": "too long", "type": "x", "code": 400}},
        {"error": "too long"},
        {"detail": "too long"},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}},
    ],
)
def test_every_form_of_engine_error_becomes_the_envelope(body: object) -> None:
    status, told = engine_error(400, orjson.dumps(body))
    assert status == 400
    assert orjson.loads(told)["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_an_engines_own_param_and_code_are_kept_where_they_are_names() -> None:
    body = {"message": "m", "param": "max_tokens", "code": "context_length_exceeded"}
    error = orjson.loads(engine_error(400, orjson.dumps(body))[1])["error"]
    assert (error["param"], error["code"]) == ("max_tokens", "context_length_exceeded")


def test_an_error_that_is_not_json_is_told_as_text() -> None:
    status, told = engine_error(500, b"Internal Server Error \xff")
    assert status == 500
    assert orjson.loads(told)["error"]["message"].startswith("Internal Server Error")
    assert orjson.loads(told)["error"]["type"] == "server_error"


@given(st.integers(400, 599), st.binary())
def test_whatever_the_engine_says_the_caller_reads_an_envelope(
    status: int, body: bytes
) -> None:
    kept, told = engine_error(status, body)
    assert kept == status
    assert orjson.loads(told)["error"].keys() == {"message", "type", "param", "code"}
    assert orjson.loads(told)["error"]["message"]


PATHS = [
    "/root/.cache/huggingface/hub/models--org--name/snapshots/abc",
    "file:///etc/passwd",
    "/x",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "at {}",
        "'{}'",
        '"{}"',
        "({})",
        "path:{}",
        "path={}",
        "in /{}",
        "[{}, 1]",
        "a\\n{}",
    ],
)
def test_local_paths_are_hidden(path: str, around: str) -> None:
    text = hide_paths(around.format(path))
    assert "<path>" in text
    assert not any(word in text for word in ("root", "srv", "etc", "/x", "snapshots"))


def test_a_known_directory_is_hidden_wherever_it_stands() -> None:
    assert hide_paths("in /my models/a b.", ["/my models/a b"]) == "in <path>."


@pytest.mark.parametrize(
    "text",
    [
        "the model org/name@refs/pr/1 is not loaded",
        "POST /v1/chat/completions or /generate",
        "see https://huggingface.co/org/name",
        "stop at </s> and/or 1/2",
    ],
)
def test_what_only_looks_a_little_like_a_path_stays(text: str) -> None:
    assert hide_paths(text) == text


def test_a_long_message_is_cut() -> None:
    told = orjson.loads(engine_error(400, orjson.dumps({"message": "a" * 10**6}))[1])
    assert len(told["error"]["message"]) == 2000


def test_where_in_the_engines_code_an_error_arose_is_not_told() -> None:
    message = '1 error:\n  missing\n\n  File "/opt/sglang/http_server.py", line 18, in chat\n'
    _, body = engine_error(400, orjson.dumps({"object": "error", "message": message}))
    told = orjson.loads(body)["error"]["message"]
    assert told.startswith("1 error:")
    assert "line 18" not in told
    assert "File" not in told
