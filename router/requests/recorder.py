"""Opens and closes the record of each request, and tells of it: the log, and all observers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence

from router.logs import redact
from router.requests.activity import Activity
from router.requests.record import Outcome, Record, Transport
from router.requests.routes import ROUTES

_log = logging.getLogger("router.requests")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

NO_ROUTE = "-"  # of a request for a path that the router does not have
_MODELS = "/v1/models"

Observer = Callable[[Record], None]


def known_route(path: str) -> str:
    """The route as logs and metrics show it. A path can be anything."""
    if path in ROUTES:
        return path
    return _MODELS if path == _MODELS or path.startswith(_MODELS + "/") else NO_ROUTE


class Recorder:
    """`observers` are called with each record that is complete. `redact` takes secrets out of
    the ids that callers choose."""

    def __init__(
        self,
        activity: Activity | None = None,
        observers: Sequence[Observer] = (),
        *,
        redact: Callable[[str], str] = redact,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.activity = activity or Activity()
        self._observers, self._redact = observers, redact
        self._clock, self._wall = clock, wall

    def open(
        self,
        route: str,
        *,
        method: str = "POST",
        transport: Transport = Transport.HTTP,
        request_id: str = "",
        chosen: bool = True,
    ) -> Record:
        """`route` and `method`: known words only. `chosen`: the caller chose the id."""
        record = Record(
            route,
            transport=transport,
            method=method,
            request_id=self._plain(request_id) if chosen else request_id,
            clock=self._clock,
            wall=self._wall,
        )
        self.activity.begin(record)
        return record

    def _plain(self, request_id: str) -> str:
        """A caller can send anything as an id, also its token."""
        return self._redact(request_id) if _ID.fullmatch(request_id) else "-"

    def close(self, record: Record) -> None:
        """Tell of a request that has ended. One without an outcome was left by its caller."""
        record.end(Outcome.CALLER_LEFT)
        if record.watches:
            self.activity.drop(record)
            _log.debug(line(record), extra={"told": record})
            return
        self.activity.end(record)
        for observe in self._observers:
            observe(record)
        if _log.isEnabledFor(logging.INFO):
            _log.info(line(record), extra={"told": record})


def line(record: Record) -> str:  # noqa: C901  flat
    """A request that has ended, as text. Written out: it is made for each request."""
    text = f"{record.method} {record.route} {record.outcome}"
    if record.status:
        text += f" {record.status}"
    elif record.error != record.outcome and record.error:
        text += f" {record.error}"
    if record.model:
        text += f" {record.model}"
    if record.temperature:
        text += f" {record.temperature}"
    if record.queue is not None:
        text += f" queue {record.queue * 1000:.0f} ms,"
    if record.load:
        text += f" load {record.load * 1000:.0f} ms,"
    if record.first is not None:
        text += f" first {record.first * 1000:.0f} ms,"
    text += f" total {record.seconds * 1000:.0f} ms"
    prompt, completion = record.prompt_tokens, record.completion_tokens
    if prompt is not None or completion is not None:
        text += f", {_told(prompt)}+{_told(completion)} tokens"
    if record.attempts > 1:
        text += f", {record.attempts} attempts"
    if record.caller:
        text += f", caller {record.caller}"
    return f"{text}, id {record.id}"


def _told(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
