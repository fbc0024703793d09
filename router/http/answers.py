"""Answers that every route can give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson

from router.errors import MethodNotAllowed, RouterError
from router.http.http_request import HttpRequest
from router.requests.dialects import Dialect, Problem
from router.requests.routes import dialect_of

READ = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer. The server adds the headers that every answer has."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


# The handler returns None if it has already sent the answer, for example as a stream.
Handler = Callable[[HttpRequest], Awaitable[HttpAnswer | None]]


def error_answer(problem: Problem, dialect: Dialect, **more: str) -> HttpAnswer:
    return HttpAnswer(problem.status, {**problem.headers, **more}, dialect.body(problem))


def refused(request: HttpRequest, error: RouterError, **headers: str) -> HttpAnswer:
    request.record.refuse(error.code, error.status)
    return error_answer(Problem.of(error), dialect_of(request.path), **headers)


def method_not_allowed(request: HttpRequest, *allowed: str) -> HttpAnswer:
    listed = ", ".join(allowed)
    return refused(request, MethodNotAllowed(f"This route takes {listed}."), Allow=listed)


def json_answer(content: object, status: int = 200) -> HttpAnswer:
    """`content`: JSON as bytes, or a value to serialize."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return HttpAnswer(status, {"Content-Type": "application/json"}, body)
