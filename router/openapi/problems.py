"""The errors in the document: the tree of `router.errors`, in the dialect of each route."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus

import orjson

from router import errors
from router.errors import RouterError
from router.openapi.values import Json, reference
from router.requests.dialects import ANTHROPIC, OPENAI, Dialect, Problem

ENVELOPE, ANTHROPICS = "Error", "AnthropicError"
_PATIENCE = 5.0  # seconds, in the examples
_RETRY_LATER = (429, 503)

Errors = tuple[type[RouterError], ...]


def every(root: type[RouterError] = RouterError) -> Iterator[type[RouterError]]:
    """Yield `root` and its subclasses that have a code of their own."""
    if "code" in vars(root) and root.__module__ == errors.__name__:
        yield root
    for below in root.__subclasses__():
        yield from every(below)


# Errors before the route is known. `InvalidRequest` is for an invalid `Host` header.
AT_ALL: Errors = (
    errors.InvalidRequest,
    errors.OriginNotAllowed,
    errors.HostNotAllowed,
    errors.HeadersTooLarge,
    errors.InternalError,
)
WITH_KEY: Errors = (*AT_ALL, errors.InvalidApiKey)
# Errors about a token or a model, from the Hub or the request to it.
OF_TOKENS: Errors = (*WITH_KEY, errors.InvalidHfToken)
OF_MODELS: Errors = (
    *WITH_KEY,
    *every(errors.AccessError),
    errors.UnsupportedModel,
    errors.RateLimited,
    errors.HubUnavailable,
)
# The documented operations have no other methods, and only RunPod's queue limits answers.
ELSEWHERE: Errors = (errors.MethodNotAllowed, errors.AnswerTooLarge)
OF_REQUESTS: Errors = tuple(one for one in every() if one not in ELSEWHERE)
# An engine's own errors keep their status, and have the engine's code or none.
ENGINES = (400, 404, 422, 500, 503)


def responses(found: Collection[type[RouterError]]) -> Json:
    """The responses of an operation that does not call an engine, by status."""
    return {str(status): _response(found, status, OPENAI) for status in _statuses(found)}


def of_requests(dialect: Dialect) -> Json:
    """The responses of an operation that calls an engine, by status: references to
    `components`."""
    name = _name(dialect)
    return {
        str(status): {"$ref": f"#/components/responses/{name}{status}"}
        for status in _statuses(OF_REQUESTS, ENGINES)
    }


def components() -> Json:
    """The component responses that `of_requests` refers to."""
    return {
        f"{_name(dialect)}{status}": _response(OF_REQUESTS, status, dialect, ENGINES)
        for dialect in (OPENAI, ANTHROPIC)
        for status in _statuses(OF_REQUESTS, ENGINES)
    }


def _name(dialect: Dialect) -> str:
    return ANTHROPICS if dialect is ANTHROPIC else ENVELOPE


def _statuses(found: Collection[type[RouterError]], more: Collection[int] = ()) -> list[int]:
    return sorted({one.status for one in found} | set(more))


def _response(
    found: Collection[type[RouterError]],
    status: int,
    dialect: Dialect,
    engines: Collection[int] = (),
) -> Json:
    here = [one for one in found if one.status == status]
    codes = [f"`{one.code}`" for one in here] + ["the engine's own"] * (status in engines)
    content: Json = {"schema": reference(_name(dialect))}
    if here:
        content["example"] = orjson.loads(dialect.body(_example(here[0])))
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}.",
        "headers": _headers(status),
        "content": {"application/json": content},
    }


def _example(one: type[RouterError]) -> Problem:
    patience = _PATIENCE if one.status in _RETRY_LATER else None
    text = "What happened, and what to do."
    return Problem(one.status, text, one.type, one.param, one.code, patience)


def _headers(status: int) -> Json:
    names = ["X-Request-Id"]
    names += ["Retry-After"] if status in _RETRY_LATER else []
    required = {key for key in Problem(status, "", "").headers if key != "Content-Type"}
    return header_references([*names, *sorted(required)])


def header_references(names: Collection[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def headers() -> Json:
    """The component headers that `header_references` refers to."""
    text: Json = {"type": "string"}
    whole: Json = {"type": "integer", "minimum": 1}
    return {
        "X-Request-Id": {
            "description": "The caller's own id, if it is plausible, else a new one.",
            "required": True,
            "schema": text,
        },
        "Retry-After": {
            "description": "When to try again, in seconds.",
            "required": True,
            "schema": whole,
        },
        "WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}},
        "Accept-Encoding": {"required": True, "schema": {"const": "identity"}},
    }


def schemas() -> Json:
    """The schemas of error bodies."""
    text: Json = {"type": "string"}
    maybe: Json = {"type": ["string", "null"]}
    codes = sorted({one.code for one in every()})
    content = {
        "message": {**text, "description": "What happened, and what to do."},
        "type": {**text, "examples": sorted({one.type for one in every()})},
        "param": {**maybe, "description": "The field that is wrong."},
        "code": {**maybe, "examples": codes},
        "retry_after": {"type": "integer", "minimum": 1, "description": "In seconds."},
    }
    said = dict.fromkeys(("type", "message"), text)
    return {
        ENVELOPE: _closed({"error": _closed(content, optional={"retry_after"})}),
        ANTHROPICS: _closed({"type": {"const": "error"}, "error": _closed(said)}),
    }


def _closed(properties: Mapping[str, Json], optional: Collection[str] = ()) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }
