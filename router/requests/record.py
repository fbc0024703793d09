"""What is known of one request: filled on its way, and then told once."""

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
CALLER_SHOWN = 12  # characters of a digest that tell one caller from another


class Transport(StrEnum):
    HTTP = "http"
    JOB = "job"


class Record:
    """One request. Times are in seconds, tokens are those that the engine counts.

    * `model`: canonical, once the caller is authorized; "" before: it may be anything, or
      private.
    * `caller`: what the operator calls its API key, else the first characters of the digest of
      that or of its token; "": it has none.
    * `queue`, `load`: see `Waited`; `first`: until the engine's first bytes; `total`: all.
      None where it did not come to that.
    * `prompt_guess`: tokens of the prompt, for an engine that does not tell them.
    * `trace`: what its engine is told of the trace that it is part of.
    * `attempts`: how often it was sent to an engine.
    * `status`: of the HTTP answer; 0 where none was complete.
    * `outcome`: see `Outcome`; "" while it is in progress. `error`: the code, where one is.
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
        """`clock` and `wall` tell seconds: since some moment, and since 1970."""
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
        self.watches = False  # it only looks at the worker, and is told of at DEBUG alone
        self.cut_off = False  # its engine was stopped under it, because the worker leaves
        self.died = False  # the engine did, and the request with it
        self.prompt_guess = 0
        self._name = ""  # of its API key
        self._events: Events | None = None  # what its caller gets of a stream
        self._count: AnswerCount | None = None  # of its answer, until that has ended
        self._guess = 0  # tokens of the answer, if the engine does not tell them
        self.erred = False  # the engine told an error in its stream

    def parsed(self, *, stream: bool, prompt_guess: int) -> None:
        """What it asks for is known. Its caller is authorized next."""
        self.stream, self.prompt_guess = stream, prompt_guess

    def authorized(self, model: str, caller: str) -> None:
        self.model, self.caller = model, self._name or caller[:CALLER_SHOWN]

    def is_from(self, caller: str, name: str) -> None:
        """`caller`: a digest of its API key. `name`: the operator's for that; "": none."""
        self._name, self.caller = name, name or caller[:CALLER_SHOWN]

    def is_operators(self, route: str) -> None:
        """The operator looks at this worker."""
        self.route, self.caller, self.watches = route, OPERATOR, self.method != "POST"

    def is_for_anybody(self, route: str) -> None:
        """Somebody asks for what needs no key and holds nothing of the worker."""
        self.route, self.watches = route, True

    def granted(self, waited: Waited) -> None:
        """It has an engine, and is sent now. A request that is sent again has waited twice."""
        self.attempts += 1
        if self.attempts == 1:
            self.queue, self.load = waited.queue, waited.load
            self.temperature = waited.temperature
        else:
            self._waits_more(waited)

    def gave_up(self, waited: Waited) -> None:
        """It has waited, and gets no engine."""
        self._waits_more(waited)

    def _waits_more(self, waited: Waited) -> None:
        self.queue = (self.queue or 0.0) + waited.queue
        self.load = (self.load or 0.0) + waited.load

    def follows(self, events: Events) -> None:
        """Its answer goes through this, which counts: `saw` need not see it."""
        self._events = events

    def begins(self, data: bytes) -> None:
        """The engine has said something."""
        self.first = self._clock() - self.began
        self._count = AnswerCount(self.route, data, self._events, stream=self.stream)

    def saw(self, data: bytes) -> None:
        """More of the answer."""
        if self._count is not None:
            self._count.saw(data)

    def errs(self) -> None:
        """The engine has told an error of its own in the middle of its stream."""
        self.erred = True

    def end(self, outcome: str, *, status: int = 0, error: str = "") -> None:
        """The request is over. Only the first end counts."""
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
        """An answer has ended, as a `Response` tells it."""
        if failure is None:
            self.end(Outcome.OK, status=status)
        elif streams:
            self.break_off(failure.code or Outcome.ENGINE)
        else:
            self.refuse(failure.code or Outcome.ENGINE, status)

    def refuse(self, code: str, status: int) -> None:
        """The caller got an error in place of an answer."""
        known = known_code(code)
        self.end(known, status=status, error=known)

    def break_off(self, code: str) -> None:
        """An error, after the head of the answer was sent."""
        known = known_code(code)
        self.end(known if self.first is None else Outcome.BROKE_OFF, error=known)

    @property
    def tokens(self) -> int:
        """What the request took, once it is over: as the engine counts, which tells it at the
        end of an answer and in a stream only if asked to. Else a guess."""
        if self.first is None:
            return 0
        guess, prompt, completion = self._guess, self.prompt_tokens, self.completion_tokens
        if prompt is None:
            return self.prompt_guess + (guess if completion is None else completion)
        if completion is None:  # an embedding has none; in a stream it was not told yet
            return prompt + (guess if self.stream else 0)
        return prompt + completion

    @property
    def running(self) -> bool:
        return not self.outcome

    @property
    def seconds(self) -> float:
        """How long it took, or takes until now."""
        return self._clock() - self.began if self.total is None else self.total

    def fields(self) -> dict[str, object]:
        """What a log or a page shows of it. Times in milliseconds."""
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
