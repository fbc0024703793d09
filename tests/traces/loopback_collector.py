"""A collector of spans on loopback. It can be stopped and restarted at the same address."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

KINDS = {1: "internal", 2: "server", 3: "client", 5: "consumer"}
ERROR = 2


@dataclass(frozen=True)
class SentSpan:
    """Times in nanoseconds since 1970; ids in hex, `parent` "" for none."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    began: int
    ended: int
    attributes: dict[str, Any]
    failed: bool
    service: dict[str, Any]


class LoopbackCollector:
    """`with LoopbackCollector() as collector`: takes spans at `collector.url`."""

    def __init__(self) -> None:
        self.spans: list[SentSpan] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.answers = threading.Event()  # clear: it takes spans without an answer
        self.answers.set()
        # It stays bound, so that nobody else gets the port while the server is stopped.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.answers.set()
        self.stop()
        self._place.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._place.getsockname()[1]}"

    def start(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, dict(self.headers), data)
                collector.answers.wait()
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(self._place.getsockname(), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, path: str, headers: dict[str, str], data: bytes) -> None:
        assert path == "/v1/traces"
        self.raw.append(data)
        self.headers.append(headers)
        if self.status == 200:
            self.spans += _spans(ExportTraceServiceRequest.FromString(data))

    def named(self, name: str) -> SentSpan:
        """The only span of that name."""
        (found,) = (one for one in self.spans if one.name == name)
        return found

    def below(self, parent: SentSpan) -> list[SentSpan]:
        """Its children, by start time."""
        found = [one for one in self.spans if one.parent == parent.id]
        return sorted(found, key=lambda one: one.began)


def _spans(request: Any) -> list[SentSpan]:
    return [
        SentSpan(
            name=span.name,
            kind=KINDS[span.kind],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            state=span.trace_state,
            began=span.start_time_unix_nano,
            ended=span.end_time_unix_nano,
            attributes=_plain(span.attributes),
            failed=span.status.code == ERROR,
            service=_plain(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
