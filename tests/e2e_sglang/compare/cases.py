"""All requests of the comparison."""

from __future__ import annotations

from tests.e2e_sglang.compare.case import (
    CHAT,
    COMPLETIONS,
    GENERATE,
    INVALID,
    JSON_BODY,
    MODELS,
    POST_ONLY,
    TYPE,
    UNKNOWN_ROUTE,
    Case,
    chat,
    generate,
    without,
)
from tests.e2e_sglang.compare.chats import CHATS
from tests.e2e_sglang.compare.expected import Own, Reason
from tests.e2e_sglang.compare.generating import COMPLETED, GENERATED, MESSAGED, RESPONDED
from tests.e2e_sglang.compare.judging import JUDGED
from tests.e2e_sglang.harness import APPLE

BODY = chat("").body
HTTP = [
    Case(
        "JSON cut short", CHAT, b'{"model": "' + APPLE.encode() + b'", "messages"', own=INVALID
    ),
    Case("no body", CHAT, b"", own=INVALID),
    Case("a list", CHAT, b"[1, 2]", own=INVALID),
    Case("a string", COMPLETIONS, b'"hello"', own=INVALID),
    Case("not UTF-8", CHAT, b'{"model": "\xff"}', own=INVALID),
    Case("NaN", CHAT, b'{"model": "' + APPLE.encode() + b'", "n": NaN}', own=INVALID),
    Case("a field twice: the last wins", CHAT, (BODY or b"")[:-1] + b', "max_tokens": 2}'),
    Case("as text", CHAT, BODY, headers={TYPE: "text/plain"}, own=INVALID),
    Case("as a form", CHAT, BODY, headers={TYPE: "multipart/form-data"}, own=INVALID),
    Case("without a type", CHAT, BODY, headers={}, own=INVALID),
    Case("with a charset", CHAT, BODY, headers={TYPE: "application/json; charset=utf-8"}),
    Case("with Accept", CHAT, BODY, headers={**JSON_BODY, "Accept": "text/event-stream"}),
    Case("with Accept-Encoding", CHAT, BODY, headers={**JSON_BODY, "Accept-Encoding": "gzip"}),
    Case("with a query", f"{CHAT}?api-version=1", BODY),
    Case(
        "from another origin",
        CHAT,
        BODY,
        headers={**JSON_BODY, "Origin": "http://a.example"},
        own=Own(Reason.ORIGIN, 403, "origin_not_allowed"),
    ),
    Case("by GET", CHAT, None, method="GET", own=POST_ONLY),
    Case("by PUT", CHAT, BODY, method="PUT", own=POST_ONLY),
    Case("by DELETE", CHAT, None, method="DELETE", own=POST_ONLY),
    Case("by HEAD", CHAT, None, method="HEAD", own=Own(Reason.METHOD, 405)),
    Case("by OPTIONS", CHAT, None, method="OPTIONS", own=POST_ONLY),
    Case("with a slash at its end", f"{CHAT}/", BODY, own=UNKNOWN_ROUTE),
    Case("by PUT", GENERATE, generate("").body, method="PUT", own=POST_ONLY),
    Case("no such route", "/v1/poems", b"{}", own=UNKNOWN_ROUTE),
    Case(
        "no model is named",
        CHAT,
        without(chat(""), "model").body,
        own=Own(Reason.MODEL, 200),
    ),
    Case(
        "another model is named",
        CHAT,
        chat("", model="tests/nowhere").body,
        own=Own(Reason.MODEL, 404, "model_not_found"),
    ),
    Case("the list", MODELS, None, method="GET", own=Own(Reason.LIST, 200)),
    Case("one of the list", f"{MODELS}/{APPLE}", None, method="GET", own=Own(Reason.LIST, 200)),
    Case(
        "none of the list",
        f"{MODELS}/tests/nowhere",
        None,
        method="GET",
        own=Own(Reason.LIST, 404, "model_not_found"),
    ),
    Case("by POST", MODELS, b"{}", own=Own(Reason.METHOD, 405, "method_not_allowed")),
    Case("by GET", "/health", None, method="GET", own=Own(Reason.HEALTH, 200)),
    Case("by GET", "/ping", None, method="GET", own=Own(Reason.HEALTH, 200)),
]

# SGLang's other routes, and those for its operator only.
OTHER_ROUTES = [
    *(
        ("GET", path)
        for path in (
            "/",
            "/ready",
            "/model_info",
            "/get_model_info",
            "/server_info",
            "/v1/loads",
        )
    ),
    *(("GET", path) for path in ("/metrics", "/flush_cache", "/docs")),
    *(("POST", path) for path in ("/classify", "/encode", "/api/chat", "/api/generate")),
    *(("POST", path) for path in ("/invocations",)),
    *(("POST", path) for path in ("/vertex_generate", "/v1/decisions", "/v1/systemone")),
    *(("POST", path) for path in ("/parse_function_call", "/separate_reasoning")),
    *(("POST", path) for path in ("/v1/audio/transcriptions", "/v1/responses/resp_1/cancel")),
    *(("GET", path) for path in ("/api/tags", "/v1/responses/resp_1")),
]
NOT_OFFERED = [
    Case(
        "not offered",
        path,
        b"{}" if method == "POST" else None,
        method=method,
        own=UNKNOWN_ROUTE,
    )
    for method, path in OTHER_ROUTES
]

CASES = (
    *CHATS,
    *COMPLETED,
    *RESPONDED,
    *MESSAGED,
    *GENERATED,
    *JUDGED,
    *HTTP,
    *NOT_OFFERED,
)

# For each route, one request that works, one that streams, and one with a missing field.
SAMPLE = tuple(
    case
    for case in CASES
    if case.name in ("plain", "streamed") or case.name.endswith("missing")
)
