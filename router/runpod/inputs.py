"""The forms in which a RunPod job can ask for something.

    {"openai_route": "/v1/chat/completions", "openai_input": {...}}   RunPod's /openai/v1
    {"openai_route": "/v1/models"}
    {"messages": [...]}, {"prompt": ...}, {"input": ...}              bare OpenAI bodies
    {"prompt": ..., "sampling_params": {...}}                         as RunPod's docs show them
    {"text": ..., "sampling_params": {...}}, {"input_ids": ...}       SGLang's own

each with `model` or without, with `hf_token` or without. Those of the former SGLang worker
are among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import orjson

from router.errors import InvalidHfToken, InvalidRequest
from router.requests.request import Request

_MODELS = "/v1/models"
_GENERATE = "/generate"
_LONGEST_ROUTE = 2048  # characters; the job has megabytes

# The first of these fields that a bare body has decides its route.
_BARE = {
    "messages": "/v1/chat/completions",
    "prompt": "/v1/completions",
    "input": "/v1/embeddings",
    "text": _GENERATE,
    "input_ids": _GENERATE,
}


@dataclass(frozen=True, slots=True)
class ListModels:
    """The models that this caller may use; with a name, that one."""

    name: str
    hf_token: str | None


def read(content: object) -> Request | ListModels:
    """Understand a job's `input`. Raises `InvalidRequest`, `InvalidHfToken`."""
    if not isinstance(content, dict):
        raise InvalidRequest("The job's `input` must be an object.", param="input")
    route = content.get("openai_route")
    if route is None:
        return _bare(content)
    if not isinstance(route, str):
        raise InvalidRequest(
            "`openai_route` must be a string, such as /v1/chat/completions.",
            param="openai_route",
        )
    body = content.get("openai_input") or {}
    if not isinstance(body, dict):
        raise InvalidRequest("`openai_input` must be an object.", param="openai_input")
    beside = {name: content[name] for name in ("model", "hf_token") if name in content}
    body = beside | body
    path = _path(route)
    if path == _MODELS or path.startswith(_MODELS + "/"):
        return ListModels(path[len(_MODELS) + 1 :], _token(body.get("hf_token")))
    return _request(path, body)


def route_of(content: object) -> str:
    """The route that a job names, or "": its errors are told in that route's dialect."""
    route = content.get("openai_route") if isinstance(content, dict) else None
    return _path(route) if isinstance(route, str) else ""


def _path(route: str) -> str:
    """The path as HTTP would have it: decoded, and without a query string."""
    if len(route) > _LONGEST_ROUTE:
        return ""  # no route
    path, _, _query = route.partition("?")
    return "/" + unquote(path).strip("/").removeprefix("openai/")


def _bare(content: dict[str, object]) -> Request:
    for field, route in _BARE.items():
        if field in content:
            return _request(route, content if route == _GENERATE else _merged(content))
    raise InvalidRequest(
        "The job's `input` must have `openai_route` and `openai_input`, or one of "
        f"{', '.join(f'`{field}`' for field in _BARE)}."
    )


def _merged(content: dict[str, object]) -> dict[str, object]:
    """An OpenAI body with its `sampling_params` merged in. A field beside them wins."""
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
    except TypeError:  # orjson raises it for each of these
        raise InvalidRequest(
            "The job's `input` holds a number over 64 bits, too many levels, or half of a "
            "surrogate pair."
        ) from None


def _token(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidHfToken("`hf_token` must be a string.")
    return value
