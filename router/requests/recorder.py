"""Opens and closes the record of each request, and tells of it: the log, and all observers."""

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

NO_ROUTE = "-"  # of a request for a path that the router does not have
_MODELS = "/v1/models"

_NAMES = 1000  # of models and callers, that are known to hold no secret

Observer = Callable[[Record], None]


def known_route(path: str) -> str:
    """The route as logs and metrics show it. A path can be anything."""
    if path in ROUTES:
        return path
    return _MODELS if path == _MODELS or path.startswith(_MODELS + "/") else NO_ROUTE


class Recorder:
    """`observers` are called with each record that is complete. `new` makes a record, with
    the parameters of `Record`. `redact` takes secrets out of
    what is not a known word or a number: the ids that callers choose, and names of models and
    callers."""

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
        self._names = {"": ""}  # of models and callers, as they are told
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
        """`route` and `method`: known words only. `chosen`: the caller chose the id. `trace`:
        the caller's."""
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
        """A caller can send anything as an id, also its token."""
        return self._redact(request_id) if _ID.fullmatch(request_id) else "-"

    def _plain_trace(self, trace: Trace) -> Trace:
        """So is the state of a trace anything, which goes to engines and to a collector."""
        return trace if self._redact(trace.state) == trace.state else Trace(trace.parent)

    def forget_names(self) -> None:
        """Look through all names anew: `redact` knows more secrets now."""
        self._names = {"": ""}

    def _told(self, name: str) -> str:
        """A name without secrets, and in one line."""
        told = self._names.get(name)
        if told is None:
            if len(self._names) >= _NAMES:
                self._names.clear()
            told = self._names[name] = one_line(self._redact(name))
        return told

    def close(self, record: Record) -> None:
        """Tell of a request that has ended. One without an outcome was left by its caller."""
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
        """Write the lines that are not written yet."""
        self._log.flush()
