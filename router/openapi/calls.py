"""The operations that call a model: one per route, with its request schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.openapi import problems
from router.openapi.answers import ANSWERS, EVENTS
from router.openapi.contents import item
from router.openapi.passed import PASSED
from router.openapi.values import (
    NOTHING,
    Json,
    admitted,
    either,
    filled,
    listed,
    or_null,
    reference,
)
from router.requests.bounds import BOUNDS
from router.requests.call import LONGEST_MODEL, LONGEST_SALT, MOST_SALTS
from router.requests.fields import DROPPED, REFUSED
from router.requests.routes import ROUTES, Route

_HI = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True, slots=True)
class Wording:
    """The description of a route, beyond what the tables of routes and fields say.

    `name`: of its schemas. `required`: fields that an engine requires. `one_of`: fields of
    which the engine requires exactly one.
    """

    name: str
    summary: str
    example: Mapping[str, object]
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


WORDINGS: Mapping[str, Wording] = {
    "/v1/chat/completions": Wording(
        "ChatCompletion", "Answer a chat", {"messages": _HI}, ("messages",)
    ),
    "/v1/completions": Wording(
        "Completion", "Complete a text", {"prompt": "Once upon"}, ("prompt",)
    ),
    "/v1/responses": Wording("Response", "Answer an input", {"input": "Hello"}, ("input",)),
    "/v1/messages": Wording(
        "Message",
        "Answer a chat (Anthropic's API)",
        {"messages": _HI, "max_tokens": 64},
        ("messages", "max_tokens"),
    ),
    "/v1/messages/count_tokens": Wording(
        "TokenCount", "Count the tokens of a chat", {"messages": _HI}, ("messages",)
    ),
    "/generate": Wording(
        "Generation",
        "Complete a text, by SGLang's own API",
        {"text": "Once upon", "sampling_params": {"max_new_tokens": 16}},
        one_of=("text", "input_ids"),
    ),
    "/v1/embeddings": Wording(
        "Embedding", "Create embeddings", {"input": ["one", "another"]}, ("input",)
    ),
    "/v1/classify": Wording("Classification", "Label texts", {"input": "good"}, ("input",)),
    "/v1/rerank": Wording(
        "Ranking",
        "Rerank documents by relevance to a query",
        {"query": "fruit", "documents": ["apple", "stone"]},
        ("query", "documents"),
    ),
    "/v1/score": Wording(
        "Score",
        "Score how likely tokens are to follow texts",
        {"query": "Is it fruit?", "items": ["apple"], "label_token_ids": [1, 2]},
        ("query", "items"),
    ),
    "/v1/tokenize": Wording(
        "Tokens",
        "Turn texts into token ids",
        {"prompt": "Hello"},
        one_of=("prompt", "messages"),
    ),
    "/v1/detokenize": Wording(
        "Text", "Turn token ids into texts", {"tokens": [1, 2]}, ("tokens",)
    ),
}


def operations() -> Json:
    """The path items of all routes, by path."""
    return {path: {"post": _operation(path, route)} for path, route in ROUTES.items()}


def schemas() -> Json:
    """The component schemas of requests and answers."""
    found: Json = {
        "Ignored": {"description": "The answer is the same without it."},
        "NotOffered": {"description": "Refused, unless it asks for nothing.", "enum": NOTHING},
    }
    for path, wording in WORDINGS.items():
        found[f"{wording.name}Request"] = _request(ROUTES[path], wording)
        found[wording.name] = ANSWERS[path]
    return found


def _operation(path: str, route: Route) -> Json:
    wording = WORDINGS[route.path]
    body = {"schema": reference(f"{wording.name}Request"), "example": dict(wording.example)}
    answer: Json = {"application/json": {"schema": reference(wording.name)}}
    if route.streams:
        answer["text/event-stream"] = {}
    tasks = ", ".join(sorted(route.tasks))
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "summary": wording.summary,
        "description": f"For models of the task {tasks}.",
        "parameters": [{"$ref": "#/components/parameters/HfToken"}],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": f"The engine's answer.{EVENTS if route.streams else ''}",
                "headers": problems.header_references(["X-Request-Id"]),
                "content": answer,
            },
            **problems.of_requests(route.dialect),
        },
    }


def _request(route: Route, wording: Wording) -> Json:
    needed = (*wording.required, *wording.one_of)
    ruled = {
        name: admitted(rule, item(route.path, name))
        for name, rule in BOUNDS[route.path].items()
    }
    properties = {
        **{name: reference("Ignored") for name in sorted(DROPPED)},
        **{name: _not_offered(advice) for name, advice in REFUSED.items()},
        **PASSED[route.path],
        **{
            name: filled(one) if name in needed else or_null(one) for name, one in ruled.items()
        },
        **_own(route),
    }
    schema: Json = {"type": "object", "properties": properties}
    if wording.required:
        schema["required"] = list(wording.required)
    if wording.one_of:
        schema["oneOf"] = [{"required": [name]} for name in wording.one_of]
    if route.path == "/generate":
        schema["additionalProperties"] = reference("NotOffered")
    return schema


def _not_offered(advice: str) -> Json:
    return {**reference("NotOffered"), "description": f"Not offered: {advice}."}


def _own(route: Route) -> Json:
    """The fields that the router itself reads."""
    model = {"type": "string", "maxLength": LONGEST_MODEL}
    words = (
        "A Hugging Face model, as org/name or org/name@revision, or an alias. Left out: the "
    )
    salt: Json = {"type": "string", "maxLength": LONGEST_SALT}
    found: Json = {
        "model": or_null({**model, "description": f"{words}operator's default."}),
        "hf_token": {
            "type": ["string", "null"],
            "writeOnly": True,
            "description": "In place of the header `X-HF-Token`. No engine sees it.",
        },
        "stream": {
            "type": ["boolean", "null"],
            "description": "Stream the answer as server-sent events."
            if route.streams
            else "Means nothing here.",
        },
    }
    if route.salted:
        found["cache_salt"] = or_null(either(salt, listed(salt, MOST_SALTS)))
    return found
