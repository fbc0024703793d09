"""The allowed differences between an engine and the router in front of it, with reasons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.requests.validation import told_by_field
from tests.e2e_sglang.compare.answers import Answer, differences, message_of


class Reason(StrEnum):
    """Why the router answers by itself. Each is allowed only where a case says so."""

    FIELD = "the field reaches into the engine, or another caller's request"
    ROUTE = "the route is not offered"
    METHOD = "the route takes one method"
    MODEL = "the request must name a model that the caller may use"
    LIST = "the list of models is the router's"
    TASK = "the model can't do this; SGLang would fail, or die"
    MEDIA = "media come as data: URLs"
    READING = "the router reads the body first, and says in its own words what is wrong"
    NULL = "null counts as left out, in every field: many clients send it"
    HEALTH = "health is the worker's, not the engine's"
    ORIGIN = "pages of other origins are refused"
    VALUE = "the value would kill or hang an engine"


@dataclass(frozen=True, slots=True)
class Own:
    """The router's own answer: `status`, and the error's `code` if it is an error."""

    reason: Reason
    status: int
    code: str | None = None

    def unlike(self, routed: Answer) -> Iterator[str]:
        """How the router's answer differs from the expected one."""
        if routed.status != self.status:
            yield f"status: expected {self.status} ({self.reason}) -> {routed.status}"
        elif self.code is not None and routed.code != self.code:
            yield f"code: expected {self.code} ({self.reason}) -> {routed.code}"


# These depend on the connection or on the moment.
_HOP = frozenset({"date", "server", "connection", "transfer-encoding", "content-length"})
# The router adds these to an engine's answer.
_ADDED: Mapping[str, str] = {
    "x-request-id": "every answer has one",
    "cache-control": "of streams: no proxy is to hold them back",
    "x-accel-buffering": "of streams: no proxy is to hold them back",
    "retry-after": "of an engine's 429 or 503",
    "x-content-type-options": "a browser is not to guess",
    "cross-origin-resource-policy": "pages of other origins get nothing",
}
# SGLang allows pages of every origin; the router allows none.
_CORS = frozenset({"vary", "access-control-allow-origin", "access-control-allow-credentials"})
# Parts of SGLang's validation errors that name a place in its own code.
_FRAME = re.compile(r"""\s*File \\?"[^"\n]+", line [0-9]+, in [\w<>.]+""")
# SGLang repeats the body it received. The router had dropped or reordered fields.
_ECHO = re.compile(r"'input': \{[^{}]*\}")


def unexplained(direct: Answer, routed: Answer) -> Iterator[str]:
    """The differences that nothing here allows."""
    yield from differences(direct.status, routed.status, "status")
    yield from _headers(direct, routed)
    if direct.status == routed.status == 400 and routed.code == "invalid_request":
        return  # the router checks values first, and words the error itself
    if direct.status == routed.status >= 400:
        yield from _errors(direct.content, routed.content)
    elif _is_stream(direct) and _is_stream(routed):
        yield from _streams(_unstored(direct.content), routed.content)
    else:
        yield from differences(_unstored(direct.content), routed.content)


def _unstored(content: Any) -> Any:
    """Change `"store": true` to false. A response says whether the engine keeps it, and the
    router never allows that."""
    if isinstance(content, dict):
        off = {"store": False} if content.get("store") is True else {}
        return {name: _unstored(value) for name, value in content.items()} | off
    return [_unstored(item) for item in content] if isinstance(content, list) else content


def _is_stream(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def _headers(direct: Answer, routed: Answer) -> Iterator[str]:
    for name in sorted((direct.headers.keys() | routed.headers.keys()) - _HOP):
        added = name in _ADDED and name not in direct.headers
        if added or (name in _CORS and name not in routed.headers):
            continue
        one, other = (answer.headers.get(name, "(absent)") for answer in (direct, routed))
        yield from differences(one, other, f"header {name}")


def _errors(one: Any, other: Any) -> Iterator[str]:
    """The form is the router's, which is the same on all routes. The message is the
    engine's."""
    said, repeated = message_of(one), message_of(other)
    if said is None or repeated is None:
        yield from differences(one, other)
    elif not _repeats(said, repeated):
        yield from differences(said, repeated, "message")


def _streams(one: list[Any], other: list[Any]) -> Iterator[str]:
    if len(one) != len(other):
        yield from differences(one, other, "events")
        return
    pairs = zip(sorted(one, key=_answer_of), sorted(other, key=_answer_of), strict=True)
    for number, (left, right) in enumerate(pairs):
        data = [event.get("data") for event in (left, right)]
        if all(isinstance(content, dict) and "error" in content for content in data):
            yield from _errors(*data)
        else:
            yield from differences(left, right, f"events[{number}]")


def _answer_of(event: Any) -> float:
    """The answer that an event belongs to: the events of several answers come in any order."""
    match event.get("data"):
        case {"choices": [{"index": int(index)}]} | {"index": int(index), "text": _}:
            return index
    return math.inf


def _repeats(said: str, repeated: str) -> bool:
    """Whether the second is the first without local paths, cut at a length; or, for SGLang's
    validation errors, the same by field."""
    if (told := told_by_field(said)) is not None and repeated == told.message:
        return True
    said, repeated = _ECHO.sub("", _FRAME.sub("", said)), _ECHO.sub("", repeated)
    parts = map(re.escape, repeated.split("<path>"))
    return re.match(r"\S+".join(parts), said) is not None
