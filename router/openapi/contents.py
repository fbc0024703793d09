"""The contents of messages, tools and documents, as SGLang 0.5.23 reads them.

The router only checks the media in them. An engine checks the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.openapi.values import Json, admitted, either, or_null, reference
from router.requests.bounds import SOURCE

_TEXT: Json = {"type": "string"}
_MAYBE: Json = {"type": ["string", "null"]}
_OBJECT: Json = {"type": "object"}
_SCHEMA: Json = {"type": "object", "description": "A JSON schema."}
_ROLES = (
    *("user", "system", "assistant", "tool", "function", "developer"),
    *("latest_reminder", "root"),
)
_URL: Json = {
    "type": "string",
    "pattern": "^(data:[A-Za-z0-9.+/;=_-]*;base64,|https://)",
    "description": "The content itself, or an `https` URL of a host that the operator lists.",
}


def _object(properties: Mapping[str, Json], *required: str) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _part(kind: str, **fields: Json) -> Json:
    return _object({"type": {"const": kind}, **fields}, "type", *fields)


def _tool_call() -> Json:
    arguments: Json = {"type": ["string", "object", "null"]}
    called = _object({"name": _MAYBE, "arguments": arguments})
    return _object(
        {"id": _MAYBE, "type": {"const": "function"}, "function": called}, "function"
    )


def schemas() -> Json:
    """The component schemas that `item` refers to."""
    bounds = {name: or_null(admitted(rule)) for name, rule in SOURCE.items()}
    source, url = reference("MediaSource"), or_null(_URL)
    audio = _object({"data": _TEXT, "format": {"enum": ["wav", "mp3"]}}, "data", "format")
    blocks = either(_TEXT, {"type": "array", "items": reference("AnthropicBlock")})
    parts = either(_TEXT, {"type": "array", "items": reference("ContentPart")})
    function = _object({"name": _TEXT, "description": _MAYBE, "parameters": _SCHEMA}, "name")
    calls: Json = {"type": ["array", "null"], "items": _tool_call()}
    return {
        "MediaSource": _object({"url": _URL, **bounds}, "url"),
        "ContentPart": either(
            _part("text", text=_TEXT),
            *(_part(f"{kind}_url", **{f"{kind}_url": source}) for kind in ("image", "video")),
            _part("audio_url", audio_url=_object({"url": _URL}, "url")),
            _part("input_audio", input_audio=audio),
        ),
        "ChatMessage": _object(
            {"role": {"enum": list(_ROLES)}, "content": parts, "tool_calls": calls},
            *("role", "content"),
        ),
        "ChatTool": _object({"type": {"const": "function"}, "function": function}, "function"),
        "AnthropicBlock": either(
            _part("text", text=_TEXT),
            _part("image", source=_OBJECT),
            _part("tool_use", id=_TEXT, name=_TEXT, input=_OBJECT),
            _part("tool_result", tool_use_id=_TEXT),
            _part("thinking", thinking=_TEXT),
        ),
        "AnthropicMessage": _object(
            {"role": {"enum": ["user", "assistant", "system"]}, "content": blocks},
            *("role", "content"),
        ),
        "AnthropicTool": _object(
            {"name": _TEXT, "description": _MAYBE, "input_schema": _SCHEMA},
            *("name", "input_schema"),
        ),
        "ResponseTool": _object({"type": _TEXT, "name": _TEXT, "parameters": _SCHEMA}, "type"),
        "Document": either(_TEXT, {"type": "array", "items": reference("ContentPart")}),
        "EmbeddedInput": _object({"text": _MAYBE, "image": url, "video": url}),
    }


_CHAT = {"messages": "ChatMessage", "tools": "ChatTool"}
_ANTHROPIC = {
    "messages": "AnthropicMessage",
    "tools": "AnthropicTool",
    "system": "AnthropicBlock",
}
_ITEMS: Mapping[str, Mapping[str, str]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/tokenize": _CHAT,
    "/v1/messages": _ANTHROPIC,
    "/v1/messages/count_tokens": _ANTHROPIC,
    "/v1/responses": {"tools": "ResponseTool"},
    "/v1/rerank": {"documents": "Document", "query": "ContentPart"},
    "/v1/embeddings": {"input": "EmbeddedInput"},
}


def item(path: str, field: str) -> Json | None:
    """The schema of the entries of a field's list; None: the rules describe them completely."""
    name = _ITEMS[path].get(field) if path in _ITEMS else None
    return None if name is None else reference(name)
