"""Makes the spans of each request when it has ended, from the times in its record."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from router import __version__
from router.requests.record import Record, Transport
from router.requests.trace_context import Trace
from router.traces import attributes
from router.traces.collector import Collector
from router.traces.drawing import Drawing
from router.traces.exporter import CollectorExporter
from router.traces.record import TracedRecord

_SERVICE = "model-router"  # unless OTEL_SERVICE_NAME is set
_LAST_MOMENT = 2.0  # seconds to send the last spans
_KINDS = {Transport.HTTP: SpanKind.SERVER, Transport.JOB: SpanKind.CONSUMER}


class Spans:
    """Opens the records of requests, and makes spans of those that are traced.

    The sampler decides at the start of a request whether it is traced (OTEL_TRACES_SAMPLER).
    By default, the caller's trace decides; without one, all requests are traced. Nothing is
    sent before `start`.
    """

    def __init__(self, collector: Collector) -> None:
        self._address = collector.address
        own = Resource({"service.name": _SERVICE, "service.version": __version__})
        resource = Resource.create().merge(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("router", __version__)
        self._exporter: CollectorExporter | None = None

    def start(self) -> None:
        """Begin to send spans. Call it after any fork: a child would send spans, too."""
        self._exporter = CollectorExporter(self._address)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))

    async def close(self) -> None:
        """Send the remaining spans, for at most `_LAST_MOMENT` seconds."""
        closed, loop = asyncio.Event(), asyncio.get_running_loop()

        def close() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop is closed: too late
                loop.call_soon_threadsafe(closed.set)

        # A daemon thread, because the process would wait for the loop's own threads.
        threading.Thread(target=close, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(_LAST_MOMENT):
                await closed.wait()
        except TimeoutError:
            if self._exporter is not None:
                self._exporter.shutdown()  # stop retrying

    def open(
        self,
        route: str,
        *,
        transport: Transport,
        method: str,
        trace: Trace | None,
        **known: Any,  # noqa: ANN401 - as `Record` has it
    ) -> Record:
        """The record of a new request. `trace` is its caller's."""
        span = self._tracer.start_span(
            attributes.name(method, route),
            context=_context_of(trace),
            kind=_KINDS[transport],
            attributes=attributes.at_the_beginning(transport, method, route),
        )
        known |= {"transport": transport, "method": method, "trace": _trace_of(span)}
        if not span.is_recording():
            return Record(route, **known)
        within = set_span_in_context(span, Context())
        start_call = partial(self._start_call, within)
        return TracedRecord(route, span=span, start_call=start_call, **known)

    def _start_call(self, within: Context) -> tuple[Span, Trace]:
        span = self._tracer.start_span("call", context=within, kind=SpanKind.CLIENT)
        return span, _trace_of(span)

    def tell(self, record: Record) -> None:
        """Make the spans of a request that has ended."""
        if isinstance(record, TracedRecord):
            Drawing(self._tracer, record).draw()


def _context_of(trace: Trace | None) -> Context:
    """A context in which the caller's span is the parent."""
    if trace is None:
        return Context()
    _, trace_id, span_id, flags = trace.parent.split("-")
    known = TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID
    caller = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16) & known),
        trace_state=TraceState.from_header([trace.state] if trace.state else []),
    )
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _trace_of(span: Span) -> Trace:
    """The trace context that names `span` as the parent."""
    own = span.get_span_context()
    parent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
    return Trace(parent, own.trace_state.to_header())
