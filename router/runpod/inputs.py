"""The forms in which a RunPod job can ask for something.

    {"openai_route": "/v1/chat/completions", "openai_input": {...}}   RunPod's /openai/v1
    {"openai_route": "/v1/models"}
    {"messages": [...]}, {"prompt": ...}, {"input": ...}              bare OpenAI bodies
    {"text": ..., "sampling_params": {...}}, {"input_ids": ...}       SGLang's own

each with `model` or without, with `hf_token` or without. Those of the former SGLang worker
are among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from router.errors import InvalidHfToken, InvalidRequest
from router.requests.response import Request

_MODELS = "/v1/models"

# The first of these fields that is there tells a bare body's route.
_BARE = {
    "messages": "/v1/chat/completions",
    "prompt": "/v1/completions",
    "input": "/v1/embeddings",
    "text": "/generate",
    "input_ids": "/generate",
}


@dataclass(frozen=True, slots=True)
class ListModels:
    """The models that this caller may use; with a name, that one."""

    name: str
    hf_token: str | None


def read(content: object) -> Request | ListModels:
    """Understand a job's `input`. Raises `InvalidRequest`, `InvalidHfToken`."""
    if not isinstance(content, dict):
        raise InvalidRequest("The job's `input` must be an object.")
    route = content.get("openai_route")
    if route is None:
        return _bare(content)
    if not isinstance(route, str):
        raise InvalidRequest("`openai_route` must be a string, such as /v1/chat/completions.")
    body = content.get("openai_input") or {}
    if not isinstance(body, dict):
        raise InvalidRequest("`openai_input` must be an object.")
    beside = {name: content[name] for name in ("model", "hf_token") if name in content}
    body = beside | body
    path = "/" + route.strip("/").removeprefix("openai/")
    if path == _MODELS or path.startswith(_MODELS + "/"):
        return ListModels(path[len(_MODELS) + 1 :], _token(body.get("hf_token")))
    return _request(path, body)


def _bare(content: dict[str, object]) -> Request:
    for field, route in _BARE.items():
        if field in content:
            return _request(route, content)
    raise InvalidRequest(
        "The job's `input` must have `openai_route` and `openai_input`, or one of "
        f"{', '.join(f'`{field}`' for field in _BARE)}."
    )


def _request(route: str, body: dict[str, object]) -> Request:
    try:
        return Request(route, orjson.dumps(body))
    except TypeError:  # orjson's errors are; a number over 64 bits, or too deep
        raise InvalidRequest("The job's `input` holds a number or a depth too large.") from None


def _token(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidHfToken("`hf_token` must be a string.")
    return value
