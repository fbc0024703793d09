"""Exports spans to the collector, in a thread. A failure is logged once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_log = logging.getLogger("router.traces")

_OF_EACH_BATCH = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_OF_EACH_LOST_SPAN = "opentelemetry.sdk._shared_internal"


class CollectorExporter(SpanExporter):
    """Sends spans to `address`, with the options in OpenTelemetry's variables."""

    def __init__(self, address: str) -> None:
        self._address, self._session = address, _Session()
        self._inner = OTLPSpanExporter(session=self._session)
        self._fails = self._told_of_losses = False
        logging.getLogger(_OF_EACH_BATCH).setLevel(logging.CRITICAL)
        logging.getLogger(_OF_EACH_LOST_SPAN).addFilter(self._tell_once)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        # OpenTelemetry does not follow a redirect, but counts it as a success.
        fails = result is not SpanExportResult.SUCCESS or bool(self._session.failure)
        if fails and not self._fails:
            _log.warning(
                "spans can't be sent to %s: %s; they are lost until they can",
                self._address,
                self._session.failure or "no answer",
            )
        elif self._fails and not fails:
            _log.info("spans are sent to %s again", self._address)
        self._fails = fails
        return SpanExportResult.FAILURE if fails else result

    def _tell_once(self, _: logging.LogRecord) -> bool:
        if not (self._fails or self._told_of_losses):
            self._told_of_losses = True
            _log.warning("spans are dropped: %s can't keep up", self._address)
        return False

    def shutdown(self) -> None:
        """Stop retrying. A second call does nothing."""
        logging.getLogger(_OF_EACH_LOST_SPAN).removeFilter(self._tell_once)
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _Session(requests.Session):
    """A session with the reason why the last request failed, or ""."""

    failure = ""

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        try:
            answer = super().send(request, **kwargs)
        except Exception as error:
            self.failure = _cause(error)
            raise
        taken = 200 <= answer.status_code < 300
        self.failure = "" if taken else f"it answers {answer.status_code}"
        return answer


def _cause(error: BaseException) -> str:
    """The operating system's error behind `error`, if there is one. It repeats no address."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.strerror:
            return at.strerror
        at = at.__cause__ or at.__context__
    return type(error).__name__
