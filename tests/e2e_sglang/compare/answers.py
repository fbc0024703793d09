"""One request, its answer, and the comparison of two answers with masked ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from tests.e2e_sglang.harness import PATIENCE

_PATIENCE = aiohttp.ClientTimeout(PATIENCE)

# New for each request, or measured.
_VOLATILE = frozenset(
    {
        *(
            "id",
            "created",
            "created_at",
            "completed_at",
            "item_id",
            "response_id",
            "request_id",
        ),
        *("e2e_latency", "queue_time", "decode_throughput", "response_sent_to_client_ts"),
        *("request_received_ts", "prefill_launch_delay", "prefill_launch_latency"),
        *("request_sent_to_scheduler_ts", "request_finished_ts", "forward_entry_time"),
    }
)
_EVENT_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # by lowercase names
    body: bytes

    @property
    def content(self) -> Any:
        """JSON with its ids masked; for a stream, its events; otherwise the text."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return list(_events(self.body))
        return _read(self.body)

    @property
    def code(self) -> str | None:
        """The router's own code of an error."""
        match _raw(self.body):
            case {"error": {"code": str(code)}}:
                return code
            case {"error": {"type": str(kind)}}:
                return kind
        return None

    @property
    def message(self) -> str | None:
        """The message of an error in any form."""
        return message_of(_raw(self.body))


def message_of(content: Any) -> str | None:
    match content:
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case {"message": str(message)} | {"detail": str(message)}:
            return message
        case str(text) if text:  # like that of a 500
            return text
    return None


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    """Send these exact bytes, and read the whole answer."""
    async with session.request(
        method,
        URL(url, encoded=True),
        data=body,
        headers=headers,
        timeout=_PATIENCE,
        allow_redirects=False,
        skip_auto_headers=("Content-Type", "Accept-Encoding", "User-Agent"),
    ) as answer:
        found = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, found, await answer.read())


def differences(one: Any, other: Any, place: str = "body") -> Iterator[str]:
    """Where and how two contents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from differences(
                one.get(name, "(absent)"), other.get(name, "(absent)"), f"{place}.{name}"
            )
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{place}[{number}]")
    elif one != other or type(one) is not type(other):
        yield f"{place}: {_short(one)} -> {_short(other)}"


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """The events, without comments, which tell a client nothing. An unfinished event counts
    too."""
    for event in _EVENT_END.split(body):
        fields: dict[str, Any] = {}
        for line in event.decode(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name:
                fields[name] = fields.get(name, "") + value.removeprefix(" ")
        if "data" in fields:
            fields["data"] = _read(fields["data"].encode())
        if fields:
            yield fields


def _read(body: bytes) -> Any:
    return _masked(_raw(body))


def _raw(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if name in _VOLATILE and value:
        return f"<{type(value).__name__}>"
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"
