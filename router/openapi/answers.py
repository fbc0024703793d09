"""The answers of SGLang 0.5.23's engines, which the router passes on byte for byte.

Every answer may have further fields: a schema names those that are always present.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.openapi.values import Json, either

_TEXT: Json = {"type": "string"}
_MAYBE: Json = {"type": ["string", "null"]}
_COUNT: Json = {"type": "integer", "minimum": 0}
_NUMBER: Json = {"type": "number"}
_OBJECT: Json = {"type": "object"}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(properties: Mapping[str, Json]) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


_IDS = _list(_COUNT)
_NUMBERS = _list(_NUMBER)
_USAGE = _object({"prompt_tokens": _COUNT, "total_tokens": _COUNT})


def _completion(kind: str, choice: Mapping[str, Json]) -> Json:
    one = _object({"index": _COUNT, **choice, "finish_reason": _MAYBE})
    head: dict[str, Json] = {"id": _TEXT, "object": {"const": kind}, "created": _COUNT}
    return _object({**head, "model": _TEXT, "choices": _list(one), "usage": _USAGE})


_MESSAGE: Json = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"const": "assistant"}, "content": _MAYBE},
}
_GENERATED = _object({"text": _TEXT, "meta_info": _OBJECT})
_RANKED = _object({"score": _NUMBER, "index": _COUNT})
_EMBEDDED = _object(
    {"object": {"const": "embedding"}, "index": _COUNT, "embedding": either(_NUMBERS, _TEXT)}
)
_CLASSIFIED = _object(
    {"index": _COUNT, "label": _TEXT, "probs": _NUMBERS, "num_classes": _COUNT}
)

ANSWERS: Mapping[str, Json] = {
    "/v1/chat/completions": _completion("chat.completion", {"message": _MESSAGE}),
    "/v1/completions": _completion("text_completion", {"text": _TEXT}),
    "/v1/responses": _object(
        {
            "id": _TEXT,
            "object": {"const": "response"},
            "created_at": _COUNT,
            "model": _TEXT,
            "output": _list(_object({"type": _TEXT})),
            "status": {"enum": ["in_progress", "completed", "incomplete", "failed"]},
        }
    ),
    "/v1/messages": _object(
        {
            "id": _TEXT,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "content": _list(_object({"type": _TEXT})),
            "model": _TEXT,
            "stop_reason": _MAYBE,
            "usage": _object({"input_tokens": _COUNT, "output_tokens": _COUNT}),
        }
    ),
    "/v1/messages/count_tokens": _object({"input_tokens": _COUNT}),
    "/generate": either(_GENERATED, _list(_GENERATED)),
    "/v1/embeddings": _object(
        {
            "object": {"const": "list"},
            "data": _list(_EMBEDDED),
            "model": _TEXT,
            "usage": _USAGE,
        }
    ),
    "/v1/classify": _object(
        {"object": {"const": "list"}, "data": _list(_CLASSIFIED), "model": _TEXT}
    ),
    "/v1/rerank": _list(_RANKED),
    "/v1/score": _object({"scores": _list(_list(either(_NUMBER, _NUMBERS))), "model": _TEXT}),
    "/v1/tokenize": _object(
        {
            "tokens": either(_IDS, _list(_IDS)),
            "count": either(_COUNT, _IDS),
            "max_model_len": _COUNT,
        }
    ),
    "/v1/detokenize": _object({"text": either(_TEXT, _list(_TEXT))}),
}
# OpenAPI 3.1 has no schema for single events, so a description must do.
EVENTS = (
    " With `stream`: server-sent events in the form of this API, and comments while nothing "
    "else is sent. The last event reports a failure."
)
