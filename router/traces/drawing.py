"""Makes the spans of one request: authorize, queue and load, then the call to the engine, which
contains the time to its first bytes and the rest of the stream."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, Tracer, set_span_in_context

from router.requests.outcomes import Outcome
from router.traces import attributes
from router.traces.attributes import Attributes
from router.traces.record import TracedRecord, Turn

_MOMENT = 0.0005  # seconds; a shorter wait gets no span
_ENGINE_DIED: Attributes = {"error.type": Outcome.ENGINE_DIED}


class Drawing:
    """The spans of a request that has ended. Times are by the record's clock, in seconds."""

    def __init__(self, tracer: Tracer, record: TracedRecord) -> None:
        self._tracer, self._record = tracer, record
        self._since_1970 = record.at - record.began
        self._end = record.began + (record.total or 0.0)
        self._within = set_span_in_context(record.span, Context())

    def draw(self) -> None:
        record = self._record
        self._authorize()
        for turn, end in self._turns():
            self._waiting(turn)
            if turn.call is not None:
                self._call(turn, turn.call, end)
        span = record.span
        span.update_name(attributes.name(record.method, record.route))
        span.set_attributes(attributes.of_request(record))
        if attributes.is_servers_fault(record):
            span.set_status(StatusCode.ERROR)
        span.end(self._nanoseconds(self._end))

    def _turns(self) -> Iterator[tuple[Turn, float]]:
        """Each turn, and the time of its end."""
        turns = self._record.turns
        ends = (*(turn.since for turn in turns[1:]), self._end)
        return zip(turns, ends, strict=False)

    def _authorize(self) -> None:
        record = self._record
        if record.parsed_at is None:
            return
        refused = record.authorized_at is None
        more = attributes.of_failure(record) if refused else {}
        end = self._end if record.authorized_at is None else record.authorized_at
        self._span("authorize", record.parsed_at, end, more)

    def _waiting(self, turn: Turn) -> None:
        at, waited = turn.since, turn.waited
        for step in waited.steps:
            began, ended = turn.at - step.began, turn.at - step.ended
            self._queue(at, began)
            failed = turn.call is None and step is waited.steps[-1]
            more = attributes.of_failure(self._record) if failed else {}
            self._span("load", began, ended, {"model_router.step": step.name, **more})
            at = ended
        self._queue(at, turn.at)

    def _queue(self, began: float, ended: float) -> None:
        if ended - began > _MOMENT:
            self._span("queue", began, ended)

    def _call(self, turn: Turn, call: Span, end: float) -> None:
        record, own = self._record, attributes.of_call(self._record)
        call.update_name(f"{own['gen_ai.operation.name']} {record.model}")
        call.set_attributes(own)
        if turn is not record.turns[-1]:
            self._fail(call, _ENGINE_DIED)
        else:
            first = None if record.first is None else record.began + record.first
            within = set_span_in_context(call, Context())
            if first is not None:
                self._span("first_token", turn.at, first, within=within)
                self._span("stream", first, end, within=within)
            waited = None if first is None else first - turn.at
            call.set_attributes(attributes.of_answer(record, waited))
            if record.outcome not in {Outcome.OK, Outcome.CALLER_LEFT}:
                self._fail(call, attributes.of_failure(record))
        call.end(self._nanoseconds(end))

    def _fail(self, span: Span, why: Attributes) -> None:
        span.set_attributes(why)
        span.set_status(StatusCode.ERROR)

    def _span(
        self,
        name: str,
        began: float,
        ended: float,
        more: Attributes | None = None,
        *,
        within: Context | None = None,
    ) -> None:
        span = self._tracer.start_span(
            name, context=within or self._within, start_time=self._nanoseconds(began)
        )
        if more:
            span.set_attributes(more)
            if "error.type" in more:
                span.set_status(StatusCode.ERROR)
        span.end(self._nanoseconds(ended))

    def _nanoseconds(self, moment: float) -> int:
        return int((self._since_1970 + moment) * 1e9)
