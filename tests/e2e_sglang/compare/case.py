"""A request of the comparison, and helpers to write the requests of each route."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.e2e_sglang.compare.expected import Own, Reason
from tests.e2e_sglang.harness import APPLE, PEAR

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES, GENERATE = "/v1/responses", "/v1/messages", "/generate"
COUNT, EMBEDDINGS, CLASSIFY = "/v1/messages/count_tokens", "/v1/embeddings", "/v1/classify"
RERANK, SCORE = "/v1/rerank", "/v1/score"
TOKENIZE, DETOKENIZE, MODELS = "/v1/tokenize", "/v1/detokenize", "/v1/models"
TYPE = "Content-Type"
JSON_BODY = {TYPE: "application/json"}


@dataclass(frozen=True, slots=True)
class Case:
    """* `own`: the router answers by itself.
    * `model`: the engine to ask directly.
    * `alias`: the router's other name for `path`.
    """

    name: str
    path: str
    body: bytes | None
    model: str = APPLE
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_BODY)
    own: Own | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.alias or self.path}: {self.name}"


def case(name: str, path: str, content: Mapping[str, Any], **options: Any) -> Case:
    """A request with the model's name, and `content` as its JSON."""
    model = options.get("model", APPLE)
    return Case(name, path, json.dumps({"model": model, **content}).encode(), **options)


def chat(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    content = {"messages": USER, "temperature": 0, "max_tokens": 8, **fields}
    return case(name, CHAT, content, own=own)


def complete(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    content = {"prompt": "Who are you?", "temperature": 0, "max_tokens": 8, **fields}
    return case(name, COMPLETIONS, content, own=own)


def respond(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    content = {"input": "Who are you?", "temperature": 0, "max_output_tokens": 8, **fields}
    return case(name, RESPONSES, content, own=own)


def message(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    content = {"messages": USER, "temperature": 0, "max_tokens": 8, **fields}
    return case(name, MESSAGES, content, own=own)


def generate(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    sampling = {"temperature": 0, "max_new_tokens": 8}
    return case(name, GENERATE, {"text": "Hi.", "sampling_params": sampling, **fields}, own=own)


def embed(name: str, *, own: Own | None = None, **fields: Any) -> Case:
    return case(name, EMBEDDINGS, {"input": "some words", **fields}, model=PEAR, own=own)


USER = [{"role": "user", "content": "Who are you?"}]
USAGE = {"include_usage": True}
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"at": {"enum": ["it"]}}},
    },
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAA"
    "AAYAAjCB0C8AAAAASUVORK5CYII="
)
INVALID = Own(Reason.READING, 400, "invalid_request")
FIELD = Own(Reason.FIELD, 400, "invalid_request")
UNKNOWN_ROUTE = Own(Reason.ROUTE, 404, "route_not_found")
POST_ONLY = Own(Reason.METHOD, 405, "method_not_allowed")
WRONG_TASK = Own(Reason.TASK, 400, "wrong_endpoint")


def without(request: Case, *names: str) -> Case:
    """The same request without some fields."""
    content = json.loads(request.body or b"{}")
    kept = {name: value for name, value in content.items() if name not in names}
    return replace(request, body=json.dumps(kept).encode())
