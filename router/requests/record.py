"""The record of one request: filled while it is served, and then reported once."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from router.pool.loading import Waited
from router.requests.answer_count import AnswerCount, Events
from router.requests.dialects import Problem
from router.requests.outcomes import Outcome, known_code
from router.requests.trace_context import Trace

OPERATOR = "operator"
CALLER_SHOWN = 12  # characters of a digest that are shown; enough to tell callers apart


class Transport(StrEnum):
    HTTP = "http"
    JOB = "job"


class Record:
    """One request. Times are in seconds. Token counts are the engine's.

    * `model`: the canonical name once the caller is authorized, and "" before: a name may be
      private or arbitrary text.
    * `caller`: the operator's name for the API key, else the beginning of the digest of the key
      or the token; "": neither was sent.
    * `queue`, `load`: see `Waited`; `first`: until the engine's first bytes; `total`: the whole
      request. None if that point was not reached.
    * `prompt_guess`: estimated prompt tokens, for an engine that does not report them.
    * `trace`: the trace context for the engine.
    * `attempts`: how often it was sent to an engine.
    * `status`: of the HTTP answer; 0 if none was complete.
    * `outcome`: see `Outcome`; "" while it is in progress. `error`: the error code, if any.
    """

    __slots__ = (
        "_clock",
        "_count",
        "_events",
        "_guess",
        "_name",
        "at",
        "attempts",
        "began",
        "caller",
        "completion_tokens",
        "cut_off",
        "died",
        "erred",
        "error",
        "first",
        "id",
        "load",
        "method",
        "model",
        "outcome",
        "prompt_guess",
        "prompt_tokens",
        "queue",
        "route",
        "status",
        "stream",
        "temperature",
        "total",
        "trace",
        "transport",
        "watches",
    )

    def __init__(
        self,
        route: str = "",
        *,
        transport: Transport = Transport.HTTP,
        method: str = "POST",
        request_id: str = "",
        caller: str = "",
        trace: Trace | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock` and `wall` return seconds: monotonic, and since 1970."""
        self._clock = clock
        self.began, self.at = clock(), wall()
        self.id, self.route, self.transport, self.method = request_id, route, transport, method
        self.trace = trace
        self.model, self.caller, self.stream = "", caller[:CALLER_SHOWN], False
        self.queue: float | None = None
        self.load: float | None = None
        self.first: float | None = None
        self.total: float | None = None
        self.temperature = self.outcome = self.error = ""
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.attempts = self.status = 0
        self.watches = False  # it only reads the worker's state, so it is logged at DEBUG only
        self.cut_off = False  # its engine was stopped because the worker shuts down
        self.died = False  # the engine died during the request
        self.prompt_guess = 0
        self._name = ""  # the name of its API key
        self._events: Events | None = None  # the event stream to its caller
        self._count: AnswerCount | None = None  # counts its answer until that has ended
        self._guess = 0  # estimated tokens of the answer, if the engine does not report them
        self.erred = False  # the engine sent an error in its stream

    def parsed(self, *, stream: bool, prompt_guess: int) -> None:
        """Note the parsed parameters. Authorization comes next."""
        self.stream, self.prompt_guess = stream, prompt_guess

    def authorized(self, model: str, caller: str) -> None:
        self.model, self.caller = model, self._name or caller[:CALLER_SHOWN]

    def is_from(self, caller: str, name: str) -> None:
        """`caller`: a digest of the API key. `name`: the operator's name for it; "": none."""
        self._name, self.caller = name, name or caller[:CALLER_SHOWN]

    def is_operators(self, route: str) -> None:
        """Note that the operator sent it."""
        self.route, self.caller, self.watches = route, OPERATOR, self.method != "POST"

    def is_for_anybody(self, route: str) -> None:
        """Note a request that needs no key and shows no data of the worker."""
        self.route, self.watches = route, True

    def granted(self, waited: Waited) -> None:
        """Note that it got an engine and is sent now. A retried request has waited twice."""
        self.attempts += 1
        if self.attempts == 1:
            self.queue, self.load = waited.queue, waited.load
            self.temperature = waited.temperature
        else:
            self._waits_more(waited)

    def gave_up(self, waited: Waited) -> None:
        """Note that it waited but got no engine."""
        self._waits_more(waited)

    def _waits_more(self, waited: Waited) -> None:
        self.queue = (self.queue or 0.0) + waited.queue
        self.load = (self.load or 0.0) + waited.load

    def follows(self, events: Events) -> None:
        """Note the stream that carries its answer. It counts the events, so `saw` is not
        needed."""
        self._events = events

    def begins(self, data: bytes) -> None:
        """Note the engine's first bytes."""
        self.first = self._clock() - self.began
        self._count = AnswerCount(self.route, data, self._events, stream=self.stream)

    def saw(self, data: bytes) -> None:
        """Note more bytes of the answer."""
        if self._count is not None:
            self._count.saw(data)

    def errs(self) -> None:
        """Note that the engine reported an error during its stream."""
        self.erred = True

    def end(self, outcome: str, *, status: int = 0, error: str = "") -> None:
        """Note the end of the request. Only the first call has an effect."""
        if self.outcome:
            return
        if self.died and outcome != Outcome.CALLER_LEFT:
            outcome = Outcome.ENGINE_DIED
        if self.cut_off and outcome != Outcome.CALLER_LEFT:
            outcome = Outcome.SHUT_DOWN
        if self.erred and outcome == Outcome.OK:
            outcome, error = Outcome.ERROR_EVENT, Outcome.ENGINE
        now = self._clock()
        self.outcome, self.status, self.error = outcome, status, error
        self.total = now - self.began
        count, self._count, self._events = self._count, None, None
        if count is not None:
            self.prompt_tokens, self.completion_tokens = count.tokens()
            self._guess = count.guess

    def answer(self, status: int, failure: Problem | None, *, streams: bool) -> None:
        """Note the end of an answer, as in `Response`."""
        if failure is None:
            self.end(Outcome.OK, status=status)
        elif streams:
            self.break_off(failure.code or Outcome.ENGINE)
        else:
            self.refuse(failure.code or Outcome.ENGINE, status)

    def refuse(self, code: str, status: int) -> None:
        """Note that the caller got an error in place of an answer."""
        known = known_code(code)
        self.end(known, status=status, error=known)

    def break_off(self, code: str) -> None:
        """Note an error that occurred after the head was sent."""
        known = known_code(code)
        self.end(known if self.first is None else Outcome.BROKE_OFF, error=known)

    @property
    def tokens(self) -> int:
        """The tokens that a finished request used. The engine reports them at the end of an
        answer, and in a stream only on request. Otherwise this is a guess."""
        if self.first is None:
            return 0
        guess, prompt, completion = self._guess, self.prompt_tokens, self.completion_tokens
        if prompt is None:
            return self.prompt_guess + (guess if completion is None else completion)
        if completion is None:  # an embedding has none; a stream has not reported it yet
            return prompt + (guess if self.stream else 0)
        return prompt + completion

    @property
    def running(self) -> bool:
        return not self.outcome

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self._clock() - self.began if self.total is None else self.total

    def fields(self) -> dict[str, object]:
        """The fields for logs and pages. Times are in milliseconds."""
        return {
            "id": self.id,
            "transport": self.transport.value,
            "method": self.method,
            "route": self.route,
            "outcome": self.outcome,
            "status": self.status,
            "error": self.error,
            "model": self.model,
            "temperature": self.temperature,
            "stream": self.stream,
            "queue_ms": _ms(self.queue),
            "load_ms": _ms(self.load),
            "first_ms": _ms(self.first),
            "total_ms": _ms(self.seconds),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "attempts": self.attempts,
            "caller": self.caller,
            "began": round(self.at, 3),
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
