"""What a worker did for its callers, as far as anything outside of it can tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import Event, Harness
from tests.loopback_hub import Request

Call = tuple[str, str, str | None]  # method, path and account


@dataclass(frozen=True, slots=True)
class Traces:
    """Equal before and after: nobody was served, and nothing started, stopped or fetched."""

    engines: bytes  # their journal: starts, requests, signals
    wanted: int  # requests that reached the pool, in whatever state the engine was
    downloads: tuple[str, ...]  # paths of files that were asked for


def traces(harness: Harness, pool: Path) -> Traces:
    engines = harness.journal.path
    return Traces(
        engines.read_bytes() if engines.exists() else b"",
        len(wanted(pool)),
        tuple(request.path for request in harness.hub.requests if _is_download(request)),
    )


def wanted(pool: Path) -> list[str]:
    """The repositories of all requests that reached the pool, in order."""
    return [event["spec"]["model"]["repo_id"] for event in pool_events(pool, "Wanted")]


def pool_events(pool: Path, kind: str) -> list[Event]:
    lines = pool.read_text().splitlines() if pool.exists() else []
    rows = [row for row in map(json.loads, lines) if isinstance(row, list)]
    return [content[kind] for _, content in rows if kind in content]


def calls(harness: Harness, since: int, name: str) -> list[Call]:
    """What the Hub was asked since its request of that number, for a comparison."""
    return [
        (request.method, request.path.replace(name, "MODEL"), request.account)
        for request in harness.hub.requests[since:]
    ]


def _is_download(request: Request) -> bool:
    return request.path.startswith("/cdn/") or "/tree/" in request.path
