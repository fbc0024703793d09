"""The observers that inform the operator about a worker or an ingress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from router.access.authorize import Admission
from router.admin.metrics import Metrics
from router.admin.request_gauges import RequestGauges
from router.app.configuration import Configuration
from router.hub.watch import HubWatch
from router.pool.engine_log import EngineLog
from router.redaction import Redactor
from router.requests.activity import Activity
from router.requests.record import Record
from router.requests.recorder import Observer, Recorder

if TYPE_CHECKING:  # its packages may not be installed
    from router.traces.spans import Spans


class Observers:
    """Metrics, spans, the engines' log and the recorder of requests."""

    def __init__(self, redact: Redactor, hub: HubWatch, spans: Spans | None) -> None:
        self.redact, self.hub, self.spans = redact, hub, spans
        self.metrics, self.engine_log = Metrics(), EngineLog(redact)
        observers: list[Observer] = [self.metrics.request]
        new: Callable[..., Record] = Record
        if spans is not None:
            observers.append(spans.tell)
            new = spans.open
        self.recorder = Recorder(Activity(), observers, new=new, redact=redact)

    def request_gauges(self, admission: Admission) -> RequestGauges:
        """The gauges of the requests recorded here."""
        activity = self.recorder.activity
        return RequestGauges(
            lambda: len(activity.running), lambda: (admission.remembered, admission.decided)
        )


def spans_of(configuration: Configuration) -> Spans | None:
    """The spans' recorder; None if no collector is configured."""
    if configuration.collector is None:
        return None
    from router.traces.spans import Spans  # noqa: PLC0415 - 0.1 s, and packages that may be missing

    return Spans(configuration.collector)
