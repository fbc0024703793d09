"""Opens and closes the record of each request, and reports it to the log and the observers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence

from router.logs import one_line
from router.redaction import redact
from router.requests.activity import Activity
from router.requests.line import LineWriter
from router.requests.outcomes import Outcome
from router.requests.record import Record, Transport
from router.requests.routes import ROUTES
from router.requests.trace_context import Trace

_log = logging.getLogger("router.requests")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

NO_ROUTE = "-"  # for a path that the router does not serve
_MODELS = "/v1/models"

_NAMES = 1000  # cached names of models and callers, without secrets

Observer = Callable[[Record], None]


def known_route(path: str) -> str:
    """The route for logs and metrics. A path can be any text."""
    if path in ROUTES:
        return path
    return _MODELS if path == _MODELS or path.startswith(_MODELS + "/") else NO_ROUTE


class Recorder:
    """Creates and reports records.

    `observers` are called with each complete record. `new` creates a record; it has the
    parameters of `Record`. `redact` removes secrets from all texts that are neither known words
    nor numbers: the ids that callers choose, and the names of models and callers.
    """

    def __init__(
        self,
        activity: Activity | None = None,
        observers: Sequence[Observer] = (),
        *,
        new: Callable[..., Record] = Record,
        redact: Callable[[str], str] = redact,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.activity = activity or Activity()
        self._observers, self._redact, self._new = observers, redact, new
        self._clock, self._wall = clock, wall
        self._names = {"": ""}  # names of models and callers, and how they are shown
        self._log = LineWriter(_log)

    def open(
        self,
        route: str,
        *,
        method: str = "POST",
        transport: Transport = Transport.HTTP,
        request_id: str = "",
        chosen: bool = True,
        trace: Trace | None = None,
    ) -> Record:
        """`route` and `method` must be known words. `chosen`: the caller chose the id. `trace`:
        the caller's trace."""
        record = self._new(
            route,
            transport=transport,
            method=method,
            request_id=self._plain(request_id) if chosen else request_id,
            trace=self._plain_trace(trace) if trace is not None and trace.state else trace,
            clock=self._clock,
            wall=self._wall,
        )
        self.activity.begin(record)
        return record

    def _plain(self, request_id: str) -> str:
        """Redact an id. A caller can send anything as an id, even its token."""
        return self._redact(request_id) if _ID.fullmatch(request_id) else "-"

    def _plain_trace(self, trace: Trace) -> Trace:
        """Drop a trace's state if it contains a secret: engines and a collector get it."""
        return trace if self._redact(trace.state) == trace.state else Trace(trace.parent)

    def forget_names(self) -> None:
        """Clear the cache of names, because `redact` knows more secrets now."""
        self._names = {"": ""}

    def _told(self, name: str) -> str:
        """The name without secrets, on one line."""
        told = self._names.get(name)
        if told is None:
            if len(self._names) >= _NAMES:
                self._names.clear()
            told = self._names[name] = one_line(self._redact(name))
        return told

    def close(self, record: Record) -> None:
        """Report a finished request. One without an outcome was left by its caller."""
        record.end(Outcome.CALLER_LEFT)
        record.model, record.caller = self._told(record.model), self._told(record.caller)
        if record.watches:
            self.activity.drop(record)
            self._log.whisper(record)
            return
        self.activity.end(record)
        for observe in self._observers:
            observe(record)
        self._log.tell(record)

    def flush(self) -> None:
        """Write the pending log lines."""
        self._log.flush()
