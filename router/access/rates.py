"""The limits of an API key: requests and tokens per minute, and concurrent requests.

We have our own token bucket, because the number of tokens is known only after the answer. Rate
limit libraries refuse a cost above the limit; here it must be charged anyway.
"""

from __future__ import annotations

from router.clock import Clock
from router.config.caller_keys import CallerKey
from router.errors import RateLimited

_SECONDS = 60.0
_ONE = 1 - 1e-6  # units; floating point may leave a little less than one
_SOON = 1.0  # seconds: nobody knows when a request in flight ends


class Bucket:
    """A token bucket: it gains `per_minute` units a minute and holds no more than that."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._limit, self._clock = per_minute, clock
        self._level, self._at = float(per_minute), clock()

    def take(self, units: int) -> None:
        """Take units. The level may become negative: a debt."""
        self._fill()
        self._level -= units

    def wait(self) -> float:
        """Seconds until a unit is available; 0.0 if one is."""
        self._fill()
        if self._level >= _ONE:
            return 0.0
        return (1 - self._level) * _SECONDS / self._limit

    def resized(self, per_minute: int) -> None:
        """Change the rate. The units taken so far stay taken."""
        self._fill()
        self._level += per_minute - self._limit
        self._limit = per_minute

    def _fill(self) -> None:
        now = self._clock()
        filled = self._level + (now - self._at) * self._limit / _SECONDS
        self._level, self._at = min(filled, float(self._limit)), now


class Usage:
    """The current usage of one key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._at_once: int | None = None
        self._in_flight = 0

    def limit(self, key: CallerKey) -> None:
        """Apply the limits of `key` from now on."""
        self._requests = self._bucket(self._requests, key.requests)
        self._tokens = self._bucket(self._tokens, key.tokens)
        self._at_once = key.max_concurrency

    def begin(self) -> None:
        """Count one more request. Raises `RateLimited`, and then charges nothing."""
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
        """End a request, and charge its tokens."""
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
