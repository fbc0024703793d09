"""How much a caller's key may do: requests and tokens a minute, and requests at once.

A bucket of our own, because tokens are known after the answer only: libraries for rates refuse
a cost that goes beyond the limit, where this one has to be charged all the same.
"""

from __future__ import annotations

from router.clock import Clock
from router.config.caller_keys import CallerKey
from router.errors import RateLimited

_SECONDS = 60.0
_ONE = 1 - 1e-6  # of a unit: what floating point leaves of one
_SOON = 1.0  # seconds: nobody knows when a request in flight ends


class Bucket:
    """Fills evenly with `per_minute` units a minute, and holds no more than those."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._limit, self._clock = per_minute, clock
        self._level, self._at = float(per_minute), clock()

    def take(self, units: int) -> None:
        """Also more than there are: then there is a debt."""
        self._fill()
        self._level -= units

    def wait(self) -> float:
        """Seconds until there is a unit; 0.0: there is one."""
        self._fill()
        if self._level >= _ONE:
            return 0.0
        return (1 - self._level) * _SECONDS / self._limit

    def resized(self, per_minute: int) -> None:
        """Hold for another rate from now on. What was taken stays taken."""
        self._fill()
        self._level += per_minute - self._limit
        self._limit = per_minute

    def _fill(self) -> None:
        now = self._clock()
        filled = self._level + (now - self._at) * self._limit / _SECONDS
        self._level, self._at = min(filled, float(self._limit)), now


class Usage:
    """What one key uses now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._at_once: int | None = None
        self._in_flight = 0

    def limit(self, key: CallerKey) -> None:
        """Hold it to these limits from now on."""
        self._requests = self._bucket(self._requests, key.requests)
        self._tokens = self._bucket(self._tokens, key.tokens)
        self._at_once = key.max_concurrency

    def begin(self) -> None:
        """One more request. Raises `RateLimited`, and then nothing is charged."""
        if self._at_once is not None and self._in_flight >= self._at_once:
            raise RateLimited(
                f"This API key may have {self._at_once} requests in progress at once "
                "(`max_concurrency`): wait for one to end.",
                retry_after=_SOON,
            )
        for bucket, noun in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket is not None and (seconds := bucket.wait()):
                raise RateLimited(
                    f"This API key has used its {noun} of the last minute "
                    f"(`{noun}_per_minute`): try again later.",
                    retry_after=seconds,
                )
        if self._requests is not None:
            self._requests.take(1)
        self._in_flight += 1

    def end(self, tokens: int) -> None:
        """A request that began is over, and took so many."""
        self._in_flight -= 1
        if self._tokens is not None:
            self._tokens.take(tokens)

    def _bucket(self, before: Bucket | None, per_minute: int | None) -> Bucket | None:
        if per_minute is None:
            return None
        if before is None:
            return Bucket(per_minute, self._clock)
        before.resized(per_minute)
        return before
