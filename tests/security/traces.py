"""A worker's visible effects, as far as anything outside of it can tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import Event, Harness
from tests.fake_engine.behaviour import whole_lines
from tests.loopback_hub import Request

Call = tuple[str, str, str | None]  # method, path and account


@dataclass(frozen=True, slots=True)
class Traces:
    """If equal before and after: nobody was served, and nothing started, stopped or was
    fetched."""

    engines: bytes  # their journal: starts, requests, signals
    wanted: int  # requests that reached the pool, in any state of the engine
    downloads: tuple[str, ...]  # paths of requested files


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
    lines = whole_lines(pool.read_bytes()) if pool.exists() else []
    rows = [row for row in map(json.loads, lines) if isinstance(row, list)]
    return [content[kind] for _, content in rows if kind in content]


def calls(harness: Harness, since: int, name: str) -> list[Call]:
    """The requests to the Hub since this number, in a form to compare."""
    return [
        (request.method, request.path.replace(name, "MODEL"), request.account)
        for request in harness.hub.requests[since:]
    ]


def _is_download(request: Request) -> bool:
    return request.path.startswith("/cdn/") or "/tree/" in request.path
