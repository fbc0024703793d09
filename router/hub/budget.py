"""How many questions each caller may have the worker ask the Hub.

The Hub counts requests in windows of five minutes: one for each account, and one for all that
a machine asks without a token. A caller that uses up a shared window takes the Hub from the
others. So what no engine runs and the operator did not name may use a part of a window only,
and of that each caller as much as it leaves to the others: one caller alone a half, two a third
each. A caller that has not asked yet always finds something left.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from cachetools import LRUCache

from router.clock import Clock
from router.errors import RateLimited

SPAN = 300.0  # seconds, as the Hub counts
REQUESTS = 500  # in a window without a token; twice as many with one
UNKNOWN, KNOWN = 0.5, 0.8  # parts of a window for names that are new, and that were seen before
AT_ONCE = (
    96  # questions that wait for an answer, of all callers; the client has 128 connections
)
_MAX_WINDOWS = 1024

Digest = str | None  # of an accepted token; None: the window of the machine


@dataclass(eq=False, slots=True)
class _Asked:
    caller: str
    until: float


class _Window:
    """The questions of the last five minutes. No more are kept than the window has."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._asked: deque[_Asked] = deque()
        self._by: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._asked)

    def take(self, caller: str, part: float, now: float) -> _Asked:
        while self._asked and self._asked[0].until <= now:
            self._forget(self._asked.popleft())
        if self._by[caller] >= part * self._size - len(self):
            raise RateLimited(
                "This worker has asked the Hugging Face Hub about many models for you lately: "
                "try again later, or name models that were in use before.",
                retry_after=max(1.0, self._opens(caller) - now),
            )
        self._asked.append(asked := _Asked(caller, now + SPAN))
        self._by[caller] += 1
        return asked

    def refund(self, asked: _Asked) -> None:
        if asked in self._asked:  # otherwise its time is over
            self._asked.remove(asked)
            self._forget(asked)

    def _forget(self, asked: _Asked) -> None:
        self._by[asked.caller] -= 1
        if not self._by[asked.caller]:
            del self._by[asked.caller]

    def _opens(self, caller: str) -> float:
        """When something is given back: of the caller's own, if it has used any."""
        own = self._by[caller] > 0
        due = (one.until for one in self._asked)
        mine = (one.until for one in self._asked if one.caller == caller)
        return next(mine if own else due, 0.0)


@dataclass(slots=True)
class _Flights:
    """Questions that wait for an answer, shared in the same way."""

    limit: int
    of: Counter[str] = field(default_factory=Counter)

    def take(self, caller: str) -> None:
        if self.of[caller] >= self.limit - self.of.total():
            raise RateLimited(
                "Too many of your questions wait for the Hugging Face Hub: try again."
            )
        self.of[caller] += 1

    def leave(self, caller: str) -> None:
        self.of[caller] -= 1
        self.of += Counter()


class Question:
    """One question to the Hub: `begin`, `end`, and `refund` where another window had it."""

    def __init__(
        self, window: _Window, flights: _Flights, clock: Clock, caller: str, part: float
    ) -> None:
        self._window, self._flights, self._clock = window, flights, clock
        self._caller, self._part = caller, part
        self._asked: _Asked | None = None

    def begin(self) -> None:
        """Raises `RateLimited`, the same whatever the question is about."""
        self._flights.take(self._caller)
        try:
            self._asked = self._window.take(self._caller, self._part, self._clock())
        except RateLimited:
            self._flights.leave(self._caller)
            raise

    def end(self) -> None:
        self._flights.leave(self._caller)

    def refund(self) -> None:
        if self._asked is not None:
            self._window.refund(self._asked)


class HubBudget:
    """The windows, and what is asked at the moment."""

    def __init__(
        self, clock: Clock, *, requests: int = REQUESTS, at_once: int = AT_ONCE
    ) -> None:
        """`requests`: of the Hub's window without a token."""
        self._clock, self._requests = clock, requests
        self._machine = _Window(requests)
        self._of_tokens: LRUCache[str, _Window] = LRUCache(_MAX_WINDOWS)
        self._flights = _Flights(at_once)

    def __len__(self) -> int:
        """How many questions are remembered."""
        return sum(map(len, (self._machine, *self._of_tokens.values())))

    def question(self, digest: Digest, caller: str, part: float) -> Question:
        """One of `caller`, that may use `part` of the window."""
        return Question(self._window(digest), self._flights, self._clock, caller, part)

    def _window(self, digest: Digest) -> _Window:
        if digest is None:
            return self._machine
        window = self._of_tokens.get(digest)
        if window is None:
            window = self._of_tokens[digest] = _Window(2 * self._requests)
        return window
