"""Answers that every route can give."""

from __future__ import annotations

import orjson
from aiohttp import web

from router.errors import MethodNotAllowed, RouterError
from router.http.connection import HEADERS_KEY, error_response
from router.requests.dialects import Problem
from router.requests.record import Record
from router.requests.routes import dialect_of

RECORD = web.RequestKey("record", Record)
READ = ("GET", "HEAD")


def refused(request: web.BaseRequest, error: RouterError, **headers: str) -> web.Response:
    request[RECORD].refuse(error.code, error.status)
    response = error_response(
        Problem.of(error), request[HEADERS_KEY], dialect_of(request.path), **headers
    )
    if not request.content.is_eof():
        # The body may never come, and the next request would be read as its rest.
        response.force_close()
    return response


def method_not_allowed(request: web.BaseRequest, *allowed: str) -> web.Response:
    listed = ", ".join(allowed)
    return refused(request, MethodNotAllowed(f"This route takes {listed}."), Allow=listed)


def json_answer(request: web.BaseRequest, content: object, status: int = 200) -> web.Response:
    """`content`: bytes of JSON, or what becomes such."""
    return web.Response(
        status=status,
        body=content if isinstance(content, bytes) else orjson.dumps(content),
        content_type="application/json",
        headers=request[HEADERS_KEY],
    )
