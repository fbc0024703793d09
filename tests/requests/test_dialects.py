"""Each API reports errors in its own form."""

from __future__ import annotations

import orjson
import pytest

from router.errors import (
    CallerQuarantined,
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    ModelLoading,
    ModelNotFound,
    QueueFull,
    RouterError,
)
from router.requests.dialects import ANTHROPIC, NATIVE, OPENAI, RESPONSES, Dialect, Problem

ERROR = Problem.of(ModelLoading("line one\nline two", retry_after=2.5))


@pytest.mark.parametrize("dialect", [OPENAI, RESPONSES, NATIVE])
def test_an_error_is_told_in_openais_envelope(dialect: Dialect) -> None:
    body = dialect.body(Problem.of(ModelNotFound("no such model")))
    assert orjson.loads(body) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_anthropics_form_has_a_type_for_each_status(status: int, kind: str) -> None:
    body = orjson.loads(ANTHROPIC.body(Problem(status, "m", "any")))
    assert body == {"type": "error", "error": {"type": kind, "message": "m"}}


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (4.1, 5)])
def test_retry_after_is_in_whole_seconds_in_header_and_body(seconds: float, told: int) -> None:
    problem = Problem.of(QueueFull("try later", retry_after=seconds))
    assert problem.headers["Retry-After"] == str(told)
    assert orjson.loads(OPENAI.body(problem))["error"]["retry_after"] == told


def test_no_retry_after_where_waiting_does_not_help() -> None:
    problem = Problem.of(ModelNotFound("no"))
    assert problem.headers == {"Content-Type": "application/json"}
    assert "retry_after" not in orjson.loads(OPENAI.body(problem))["error"]


@pytest.mark.parametrize(
    ("error", "repeats"),
    [
        (EngineFailed("it died"), False),
        (DeadlineExceeded("it takes too long"), False),
        (ModelLoading("in a moment", retry_after=60), True),
        (EngineUnavailable("in an hour", retry_after=3600), False),
        (CallerQuarantined("in ten minutes", retry_after=600), False),
        (QueueFull("try later", retry_after=2), True),
        (ModelNotFound("no"), True),  # no client retries it
    ],
)
def test_a_client_is_told_not_to_repeat_what_lasts(error: RouterError, repeats: bool) -> None:
    assert Problem.of(error).headers.get("X-Should-Retry") == (None if repeats else "false")


def test_a_client_may_repeat_what_an_engine_failed_at_once() -> None:
    assert "X-Should-Retry" not in Problem(500, "a hiccup", "server_error").headers


@pytest.mark.parametrize("dialect", [OPENAI, NATIVE])
def test_in_a_stream_openais_error_is_an_event_and_then_the_end(dialect: Dialect) -> None:
    first, last, rest = dialect.events(ERROR, 0).split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    assert first == b"data: " + dialect.body(ERROR)


def test_in_a_stream_anthropics_error_is_the_last_event() -> None:
    event = b"event: error\ndata: " + ANTHROPIC.body(ERROR) + b"\n\n"
    assert ANTHROPIC.events(ERROR, 0) == event


def test_in_a_stream_a_responses_error_has_the_next_sequence_number() -> None:
    head, data, *end = RESPONSES.events(ERROR, 7).split(b"\n")
    assert (head, end) == (b"event: error", [b"", b""])
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "sequence_number": 7,
        "error": {
            "type": "server_error",
            "code": "model_loading",
            "message": "line one\nline two",
            "param": "model",
        },
    }


def subclasses(kind: type[RouterError]) -> list[type[RouterError]]:
    return [kind, *(one for sub in kind.__subclasses__() for one in subclasses(sub))]


@pytest.mark.parametrize("dialect", [OPENAI, RESPONSES, ANTHROPIC, NATIVE])
@pytest.mark.parametrize("kind", [k for k in subclasses(RouterError) if hasattr(k, "code")])
def test_every_error_can_be_told_in_every_dialect(
    kind: type[RouterError], dialect: Dialect
) -> None:
    error = kind.__new__(kind)
    RouterError.__init__(error, "message")
    problem = Problem.of(error)
    assert b"message" in dialect.body(problem)
    assert dialect.events(problem, 0).endswith(b"\n\n")
