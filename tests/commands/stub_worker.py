"""A worker's operator routes on loopback, with scripted answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
GIB = 1 << 30


@dataclass
class StubWorker:
    """`answers`: status and content by path; strings are sent unchanged. `asked`: method, path
    and headers of each request."""

    answers: dict[str, tuple[int, Json | str]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextmanager
def stub_worker() -> Iterator[StubWorker]:
    stub = StubWorker()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.asked.append((self.command, self.path, dict(self.headers)))
            status, content = stub.answers.get(
                self.path, (404, refusal("route_not_found", "No such route."))
            )
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", text)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815 - http.server's

        def log_message(self, *_: object) -> None:
            """Don't write into the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(code: str, message: str) -> Json:
    return {"error": {"code": code, "message": message, "type": "", "param": None}}


def sse(*events: tuple[str, Json]) -> str:
    return ": hello\n\n" + "".join(
        f"event: {name}\ndata: {json.dumps(content)}\n\n" for name, content in events
    )


def engine(model: str = "acme/poet", **changes: Any) -> Json:
    """A ready and idle engine, as `/admin/state` shows it."""
    return {
        "id": f"{model}@{'c' * 40}",
        "model": model,
        "commit": "c" * 40,
        "names": [],
        "state": "ready",
        "since": 880.0,
        "devices": [0],
        "claim_bytes": 3 * GIB,
        "held_bytes": 3 * GIB,
        "in_flight": {"requests": 0, "callers": [], "more_callers": 0},
        "waiting": {
            "requests": 0,
            "reason": None,
            "seconds": None,
            "leaving": [],
            "callers": [],
        },
        "evicted_next": 1,
        "pinned": False,
        "unloading": False,
        "last_start": {"at": 880.0, "seconds": 12.34, "stages": []},
        "failures": 0,
        "last_failure": None,
        "retry_at": None,
        **changes,
    }


def state(*engines: Json, **worker: Any) -> Json:
    return {
        "now": 1000.0,
        "worker": {"started_at": 400.0, "ready": True, "leaving": False, **worker},
        "devices": [
            {
                "index": 0,
                "budget_bytes": 8 * GIB,
                "held_bytes": 3 * GIB,
                "standby_bytes": 0,
                "written_off_bytes": 0,
                "free_bytes": 5 * GIB,
            }
        ],
        "loaded": {"engines": len(engines), "limit": 2},
        "queue": {"waiting": 0, "limit": 64},
        "engines": list(engines),
        "more_engines": 0,
        "models": [],
        "disk": {
            "used_bytes": 7 * GIB,
            "budget_bytes": None,
            "free_bytes": 90 * GIB,
            "reserve_bytes": 5 * GIB,
        },
    }
