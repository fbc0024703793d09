"""The record of a traced request: it keeps the times for its spans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span

from router.pool.loading import Waited
from router.requests.record import Record
from router.requests.trace_context import Trace

StartCall = Callable[[], tuple[Span, Trace]]


@dataclass(frozen=True, slots=True)
class Turn:
    """The request waited for an engine until `at`, and was then sent to it. `call` is None if
    it got no engine."""

    at: float
    waited: Waited
    call: Span | None = None

    @property
    def since(self) -> float:
        return self.at - self.waited.queue - self.waited.load


class TracedRecord(Record):
    """Keeps times by the record's clock; None for a step that the request did not reach.

    `span` is that of the whole request. `start_call` starts the span of a call to an engine.
    The engine gets its id, so that the engine's own spans are its children.
    """

    __slots__ = ("_start_call", "authorized_at", "parsed_at", "span", "turns")

    def __init__(self, route: str, *, span: Span, start_call: StartCall, **known: Any) -> None:  # noqa: ANN401 - as `Record` has it
        super().__init__(route, **known)
        self.span, self._start_call = span, start_call
        self.parsed_at: float | None = None
        self.authorized_at: float | None = None
        self.turns: list[Turn] = []

    def parsed(self, *, stream: bool, prompt_guess: int) -> None:
        super().parsed(stream=stream, prompt_guess=prompt_guess)
        self.parsed_at = self._clock()

    def authorized(self, model: str, caller: str) -> None:
        super().authorized(model, caller)
        self.authorized_at = self._clock()

    def granted(self, waited: Waited) -> None:
        super().granted(waited)
        call, self.trace = self._start_call()
        self.turns.append(Turn(self._clock(), waited, call))

    def gave_up(self, waited: Waited) -> None:
        super().gave_up(waited)
        self.turns.append(Turn(self._clock(), waited))
