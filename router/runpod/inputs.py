"""Reads the `input` of a RunPod job, which can have these forms:

    {"openai_route": "/v1/chat/completions", "openai_input": {...}}   RunPod's /openai/v1
    {"openai_route": "/v1/models"}
    {"route": "/v1/score", "body": {...}, "method": "POST"}           as worker-vllm has them
    {"messages": [...]}, {"prompt": ...}, {"input": ...}              bare OpenAI bodies
    {"prompt": ..., "sampling_params": {...}}                         as RunPod's docs show them
    {"text": ..., "sampling_params": {...}}, {"input_ids": ...}       SGLang's own

each with or without `model` and `hf_token`. They include the forms of RunPod's former SGLang
worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import orjson

from router.errors import InvalidHfToken, InvalidRequest, MethodNotAllowed
from router.requests.request import Request
from router.requests.routes import ROUTES

_MODELS = "/v1/models"
_GENERATE = "/generate"
_BESIDE = ("model", "hf_token")  # also read next to the body, if the body has none
_LONGEST_ROUTE = 2048  # characters; a job could send megabytes

# The first of these fields in a bare body decides its route.
_BARE = {
    "messages": "/v1/chat/completions",
    "prompt": "/v1/completions",
    "input": "/v1/embeddings",
    "text": _GENERATE,
    "input_ids": _GENERATE,
}


@dataclass(frozen=True, slots=True)
class ListModels:
    """A request for the models that this caller may use, or for the one called `name`."""

    name: str
    hf_token: str | None


@dataclass(frozen=True, slots=True)
class _Form:
    """The names of the fields of a job that names its route. `method`: None if it has none."""

    route: str
    body: str
    method: str | None = None


_OPENAI = _Form("openai_route", "openai_input")
_ANY = _Form("route", "body", "method")


def read(content: object) -> Request | ListModels:
    """Read a job's `input`. Raises `InvalidRequest`, `InvalidHfToken`, `MethodNotAllowed`."""
    if not isinstance(content, dict):
        raise InvalidRequest("The job's `input` must be an object.", param="input")
    form = _form_of(content)
    if form is not None:
        return _routed(content, form)
    if content.get(_OPENAI.body):
        return _bare(_body(content, _OPENAI))
    return _bare(content)


def route_of(content: object) -> str:
    """The route that a job names, or "". Its errors are in that route's dialect."""
    form = _form_of(content) if isinstance(content, dict) else None
    route = content[form.route] if form is not None and isinstance(content, dict) else None
    return _path(route) if isinstance(route, str) else ""


def _form_of(content: dict[str, object]) -> _Form | None:
    if content.get(_OPENAI.route) is not None:
        return _OPENAI
    # Clients of other APIs send a `route` in a bare body.
    is_bare = _ANY.body not in content and any(field in content for field in _BARE)
    return _ANY if content.get(_ANY.route) is not None and not is_bare else None


def _routed(content: dict[str, object], form: _Form) -> Request | ListModels:
    route = content[form.route]
    if not isinstance(route, str):
        raise InvalidRequest(
            f"`{form.route}` must be a string, such as /v1/chat/completions.", param=form.route
        )
    body, path = _body(content, form), _path(route)
    lists = path == _MODELS or path.startswith(_MODELS + "/")
    if lists or path in ROUTES:
        method = content.get(form.method) if form.method else None
        _check_method(method, "GET" if lists else "POST")
    if lists:
        return ListModels(path[len(_MODELS) + 1 :], _token(body.get("hf_token")))
    return _request(path, body)


def _body(content: dict[str, object], form: _Form) -> dict[str, object]:
    """The body. Fields in `_BESIDE` are taken from next to it if it has none."""
    body = content.get(form.body) or {}
    if not isinstance(body, dict):
        raise InvalidRequest(f"`{form.body}` must be an object.", param=form.body)
    beside: dict[str, object] = {name: content[name] for name in _BESIDE if name in content}
    return beside | body


def _check_method(method: object, allowed: str) -> None:
    if method is None or method == "":
        return
    if not isinstance(method, str):
        raise InvalidRequest("`method` must be a string, such as POST.", param="method")
    if method.upper() != allowed:
        raise MethodNotAllowed(f"This route takes {allowed}.")


def _path(route: str) -> str:
    """The path as in HTTP: decoded, and without a query string."""
    if len(route) > _LONGEST_ROUTE:
        return ""  # not a route
    path, _, _query = route.partition("?")
    path = "/" + unquote(path).strip("/").removeprefix("openai/")
    versioned = "/v1" + path
    known = versioned in ROUTES or versioned.startswith(_MODELS + "/") or versioned == _MODELS
    return versioned if known and path not in ROUTES else path


def _bare(content: dict[str, object]) -> Request:
    for field, route in _BARE.items():
        if field in content:
            return _request(route, content if route == _GENERATE else _merged(content))
    raise InvalidRequest(
        "The job's `input` must have `openai_route` and `openai_input`, `route` and `body`, or "
        f"one of {', '.join(f'`{field}`' for field in _BARE)}."
    )


def _merged(content: dict[str, object]) -> dict[str, object]:
    """An OpenAI body with its `sampling_params` merged in. Fields of the body itself win."""
    sampling = content.get("sampling_params")
    rest = {name: value for name, value in content.items() if name != "sampling_params"}
    if sampling is None:
        return rest
    if not isinstance(sampling, dict):
        raise InvalidRequest("`sampling_params` must be an object.", param="sampling_params")
    sampling = dict(sampling)
    if "max_new_tokens" in sampling:  # SGLang's own name for OpenAI's field
        sampling.setdefault("max_tokens", sampling.pop("max_new_tokens"))
    return sampling | rest


def _request(route: str, body: dict[str, object]) -> Request:
    try:
        return Request(route, orjson.dumps(body))
    except TypeError:  # orjson raises it for all of these
        raise InvalidRequest(
            "The job's `input` holds a number over 64 bits, too many levels, or half of a "
            "surrogate pair."
        ) from None


def _token(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidHfToken("`hf_token` must be a string.")
    return value
