"""Limits how many Hub requests each caller may cause.

The Hub counts requests in windows of five minutes: one per account, and one per machine for
anonymous requests. A caller that uses up a shared window would deny the Hub to the others.
Names that no engine serves and that the operator did not list may therefore use only part of a
window. Each caller may use as much of that part as it leaves free: one caller alone uses up to
half of it, two use a third each. A new caller always finds some left.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from cachetools import LRUCache

from router.clock import Clock
from router.errors import RateLimited

SPAN = 300.0  # seconds, as the Hub counts
REQUESTS = 500  # per window without a token; twice as many with a token
UNKNOWN, KNOWN = 0.5, 0.8  # parts of a window for new names, and for known ones
AT_ONCE = 96  # Hub requests in flight, for all callers; the client has 128 connections
_MAX_WINDOWS = 1024

Digest = str | None  # of an accepted token; None: the machine's window


@dataclass(eq=False, slots=True)
class _Asked:
    caller: str
    until: float


class _Window:
    """The requests of the last five minutes, at most as many as the window allows."""

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
        if asked in self._asked:  # otherwise it has expired
            self._asked.remove(asked)
            self._forget(asked)

    def _forget(self, asked: _Asked) -> None:
        self._by[asked.caller] -= 1
        if not self._by[asked.caller]:
            del self._by[asked.caller]

    def _opens(self, caller: str) -> float:
        """When this caller may ask again: its own oldest request expires, or else anyone's."""
        own = self._by[caller] > 0
        due = (one.until for one in self._asked)
        mine = (one.until for one in self._asked if one.caller == caller)
        return next(mine if own else due, 0.0)


@dataclass(slots=True)
class _Flights:
    """Limits the Hub requests in flight, with the same sharing rule."""

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
    """One request to the Hub. Call `begin` and `end`. Call `refund` if the Hub did not count it
    in this window."""

    def __init__(
        self, window: _Window, flights: _Flights, clock: Clock, caller: str, part: float
    ) -> None:
        self._window, self._flights, self._clock = window, flights, clock
        self._caller, self._part = caller, part
        self._asked: _Asked | None = None

    def begin(self) -> None:
        """Raises `RateLimited`, with the same text for all models."""
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
    """All windows, and the Hub requests in flight."""

    def __init__(
        self, clock: Clock, *, requests: int = REQUESTS, at_once: int = AT_ONCE
    ) -> None:
        """`requests`: the size of the Hub's window without a token."""
        self._clock, self._requests = clock, requests
        self._machine = _Window(requests)
        self._of_tokens: LRUCache[str, _Window] = LRUCache(_MAX_WINDOWS)
        self._flights = _Flights(at_once)

    def __len__(self) -> int:
        """The number of remembered requests."""
        return sum(map(len, (self._machine, *self._of_tokens.values())))

    def question(self, digest: Digest, caller: str, part: float) -> Question:
        """A request on behalf of `caller`, which may use `part` of the window."""
        return Question(self._window(digest), self._flights, self._clock, caller, part)

    def _window(self, digest: Digest) -> _Window:
        if digest is None:
            return self._machine
        window = self._of_tokens.get(digest)
        if window is None:
            window = self._of_tokens[digest] = _Window(2 * self._requests)
        return window
