"""An engine's errors are read in any form, and reveal nothing about this machine."""

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.local_paths import hide_paths
from router.requests.dialects import OPENAI, Problem
from router.requests.engine_errors import read_engine_error


def read(status: int, body: bytes) -> Problem:
    return read_engine_error(status, body, retry_after=None, hide=hide_paths)


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
def test_every_form_of_engine_error_is_read(body: object) -> None:
    assert read(400, orjson.dumps(body)) == Problem(400, "too long", "invalid_request_error")


def test_an_engines_own_param_and_code_are_kept_where_they_are_names() -> None:
    body = {"message": "m", "param": "max_tokens", "code": "context_length_exceeded"}
    error = read(400, orjson.dumps(body))
    assert (error.param, error.code) == ("max_tokens", "context_length_exceeded")


def test_an_error_that_is_not_json_is_told_as_text() -> None:
    error = read(500, b"Internal Server Error \xff")
    assert (error.status, error.type) == (500, "server_error")
    assert error.message.startswith("Internal Server Error")


@given(st.integers(400, 599), st.binary())
def test_whatever_the_engine_says_the_caller_reads_an_error(status: int, body: bytes) -> None:
    error = read(status, body)
    assert error.status == status
    assert error.message
    assert orjson.loads(OPENAI.body(error))["error"]["message"] == error.message


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
    assert len(read(400, orjson.dumps({"message": "a" * 10**6})).message) == 2000


def test_where_in_the_engines_code_an_error_arose_is_not_told() -> None:
    message = '1 error:\n  missing\n\n  File "/opt/sglang/http_server.py", line 18, in chat\n'
    told = read(400, orjson.dumps({"object": "error", "message": message})).message
    assert told.startswith("1 error:")
    assert "line 18" not in told
    assert "File" not in told


def test_a_long_run_of_white_space_takes_no_long_time() -> None:
    """Searching from each of its positions would take half a minute."""
    blank = " " * (1 << 17)
    began = time.process_time()
    assert hide_paths(f"{blank}.") == f"{blank}."
    assert time.process_time() - began < 3.0


def test_an_error_around_a_very_deep_input_keeps_its_status() -> None:
    """orjson reads more levels than it writes."""
    deep = b"[" * 300 + b"]" * 300
    error = read_engine_error(
        422, b'{"detail": [{"input": %s}]}' % deep, retry_after=None, hide=hide_paths
    )
    assert (error.status, error.message) == (422, "The engine answered with status 422.")


@pytest.mark.parametrize("field", ["message", "param", "code"])
def test_no_part_of_an_error_tells_a_local_path(field: str) -> None:
    body = orjson.dumps({"error": {field: "/srv/models/x/config.json"}})
    error = read_engine_error(400, body, retry_after=None, hide=hide_paths)
    assert getattr(error, field) == "<path>"


MISSING = (
    "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field "
    "required', 'input': {'model': 'a'}}\n    POST /v1/chat/completions [{'type': 'missing'}]"
)
WRONG = (
    "2 validation errors:\n  {'type': 'value_error', 'loc': ('body', 'messages', 0, "
    "'function-after[check(), Param]', 'role'), 'msg': \"Value error, 'role' must be one of "
    "'user' or 'system'.\", 'input': 'bogus'}\n  {'type': 'literal_error', 'loc': ('body', "
    "'messages', 0, 'Param', 'role'), 'msg': \"Input should be 'user'\", 'input': 'bogus'}\n"
)
OTHER = "1 validation error:\n  of another form"
WHOLE = "1 validation error:\n  {'type': 'json', 'loc': ('body',), 'msg': 'Not an object'}\n"


@pytest.mark.parametrize(
    ("said", "message", "param"),
    [
        (MISSING, "`messages`: Field required", "messages"),
        (
            WRONG,
            (
                "`messages[0].role`: 'role' must be one of 'user' or 'system'.; "
                "`messages[0].role`: Input should be 'user'"
            ),
            "messages[0].role",
        ),
        (WHOLE, "`the body`: Not an object", None),
        (
            "1 validation error:\n  of another form",
            "1 validation error:\n  of another form",
            None,
        ),
    ],
)
def test_a_field_that_an_engine_does_not_take_is_named(
    said: str, message: str, param: str | None
) -> None:
    problem = read(400, orjson.dumps({"message": said}))
    assert (problem.message, problem.param) == (message, param)
