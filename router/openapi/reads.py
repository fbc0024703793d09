"""The operations that call no engine: models, health, and the document itself."""

from __future__ import annotations

from collections.abc import Mapping

from router.openapi import problems
from router.openapi.values import Json, reference
from router.requests.model_list import Status

_ID = problems.header_references(["X-Request-Id"])
_TOKEN: Json = {"$ref": "#/components/parameters/HfToken"}
_STATES = {"200": "ready", "503": "starting, or leaving"}
_PING = {"200": "Ready.", "204": "Starting.", "503": "Leaving."}


def operations() -> Json:
    """The path items of these operations, by path."""
    name: Json = {
        "name": "model",
        "in": "path",
        "required": True,
        "description": "As a request names it; a slash in it may stand as it is.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1024},
        "example": "org/name",
    }
    return {
        "/v1/models": _get(
            "models",
            "The operator's models, and the loaded ones that the caller may use",
            _json("ModelList", problems.OF_TOKENS),
            [_TOKEN],
        ),
        "/v1/models/{model}": _get(
            "model", "One model", _json("Model", problems.OF_MODELS), [name, _TOKEN]
        ),
        "/openapi.json": _get("openapi", "This document", _json(None, problems.WITH_KEY)),
        "/ping": _get("ping", "Health, as RunPod reads it", _states(_PING, None), free=True),
        "/health": _get("health", "Health", _states(_STATES, "Health"), free=True),
    }


def _get(
    name: str,
    summary: str,
    responses: Json,
    parameters: list[Json] | None = None,
    *,
    free: bool = False,
) -> Json:
    """`free`: no API key is required."""
    found: Json = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        found["parameters"] = parameters
    return {"get": {**found, "security": []} if free else found}


def _json(schema: str | None, errors: problems.Errors) -> Json:
    content = {"schema": reference(schema) if schema else {"type": "object"}}
    answer: Json = {"description": "The answer.", "headers": _ID}
    answer["content"] = {"application/json": content}
    return {"200": answer, **problems.responses(errors)}


def _states(states: Mapping[str, str], schema: str | None) -> Json:
    found = problems.responses(problems.AT_ALL)
    for status, words in states.items():
        answer: Json = {"description": words, "headers": _ID}
        if schema:
            answer["content"] = {"application/json": {"schema": reference(schema)}}
        found[status] = answer
    return found


def parameters() -> Json:
    """The component parameters for request headers."""
    return {
        "HfToken": {
            "name": "X-HF-Token",
            "in": "header",
            "description": "The caller's own Hugging Face token, for gated and private models.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{8,512}$"},
        }
    }


def schemas() -> Json:
    text: Json = {"type": "string"}
    properties: Json = {
        "id": text,
        "object": {"const": "model"},
        "created": {"type": "integer", "description": "In seconds since 1970; 0: unknown."},
        "owned_by": text,
        "root": {**text, "description": "The repository behind an alias."},
        "parent": {"type": "null"},
        "max_model_len": {
            "type": ["integer", "null"],
            "description": "In tokens, while the model is loaded.",
        },
        "context_length": {"type": ["integer", "null"], "description": "The same."},
        "status": {
            "enum": [one.value for one in Status],
            "description": "On the worker that answers. A caller's own is loaded, or unloaded.",
        },
        "loaded": {"type": "boolean", "description": "On the worker that answers."},
    }
    worker = {**text, "description": "The worker, as X-Runpod-Worker-Id names it. Only there."}
    model = _closed(properties)
    model["properties"] = {**properties, "worker": worker}
    return {
        "Model": model,
        "ModelList": _closed(
            {
                "object": {"const": "list"},
                "data": {"type": "array", "items": reference("Model")},
            }
        ),
        "Health": _closed({"status": {"enum": ["starting", "ready", "leaving"]}}),
    }


def _closed(properties: Json) -> Json:
    found: Json = {"type": "object", "properties": properties, "required": list(properties)}
    return {**found, "additionalProperties": False}
