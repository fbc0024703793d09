"""The error format of each API: before the head of an answer, and inside a stream.

OPENAI      {"error": {"message", "type", "param", "code"}}; in a stream, that envelope as
    an event, then `[DONE]`
RESPONSES   OpenAI's envelope; in a stream of /v1/responses, a final event of type `error`
    that continues the stream's sequence numbers
ANTHROPIC   {"type": "error", "error": {"type", "message"}}; in a stream of /v1/messages,
    the same as a final event of type `error`
NATIVE      SGLang's own /generate: OpenAI's envelope, which contains SGLang's `message`
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from router.errors import RouterError

# The clients of OpenAI and Anthropic retry twice after 408, 409, 429 and any 5xx. They obey
# `Retry-After` only up to a minute; above that, some retry at once.
_LONGEST_WAIT = 60.0  # seconds
# The servers of OpenAI and Anthropic send this to stop retries.
_NO_REPETITION = {"X-Should-Retry": "false"}
# Headers that a status requires (RFC 9110, 11.6.1 and 15.5.16).
_REQUIRED = {401: {"WWW-Authenticate": "Bearer"}, 415: {"Accept-Encoding": "identity"}}


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure as the caller sees it.

    * `retry_after`: in seconds, if waiting helps.
    * `lasting`: a retry would meet the same failure or cause it again.
    """

    status: int
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None
    lasting: bool = False

    @classmethod
    def of(cls, error: RouterError) -> Problem:
        """The router has already retried what a retry can help. So its own 5xx errors are
        lasting, unless they say when to come back."""
        return cls(
            error.status,
            error.message,
            error.type,
            error.param,
            error.code,
            error.retry_after,
            lasting=error.status >= 500 and error.retry_after is None,
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers that HTTP requires, and those that control automatic retries.
        `Retry-After` is in whole seconds."""
        headers = {"Content-Type": "application/json", **_REQUIRED.get(self.status, {})}
        if self.retry_after is not None:
            headers["Retry-After"] = str(whole_seconds(self.retry_after))
        if self.lasting or (self.retry_after or 0.0) > _LONGEST_WAIT:
            headers |= _NO_REPETITION
        return headers


@dataclass(frozen=True, slots=True)
class Dialect:
    """The error format of one API.

    `body` creates the JSON of an error answer. `events` creates the last events of a stream.
    Its second argument is the next event's sequence number.
    """

    body: Callable[[Problem], bytes]
    events: Callable[[Problem, int], bytes]


def whole_seconds(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _envelope(problem: Problem) -> bytes:
    content: dict[str, object] = {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
    }
    if problem.retry_after is not None:
        content["retry_after"] = whole_seconds(problem.retry_after)
    return orjson.dumps({"error": content})


def _envelope_then_done(problem: Problem, _sequence_number: int) -> bytes:
    return b"data: " + _envelope(problem) + b"\n\ndata: [DONE]\n\n"


def _responses_event(problem: Problem, sequence_number: int) -> bytes:
    error = {
        "type": problem.type,
        "code": problem.code or str(problem.status),
        "message": problem.message,
        "param": problem.param,
    }
    event = {"type": "error", "sequence_number": sequence_number, "error": error}
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"


# https://docs.claude.com/en/api/errors
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _anthropic_body(problem: Problem) -> bytes:
    default = "invalid_request_error" if problem.status < 500 else "api_error"
    kind = _ANTHROPIC_TYPES.get(problem.status, default)
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": problem.message}})


def _anthropic_event(problem: Problem, _sequence_number: int) -> bytes:
    return b"event: error\ndata: " + _anthropic_body(problem) + b"\n\n"


OPENAI = Dialect(_envelope, _envelope_then_done)
RESPONSES = Dialect(_envelope, _responses_event)
ANTHROPIC = Dialect(_anthropic_body, _anthropic_event)
NATIVE = Dialect(_envelope, _envelope_then_done)
