"""Logs when the Hub becomes unavailable and when it is back, once each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from router.clock import Clock
from router.errors import HubLimited, HubUnavailable, RouterError
from router.hub.singleflight import ANSWER_TTL

_log = logging.getLogger("router.hub")

# Seconds. A Hub that has just answered may still fail once, and one that has just failed is not
# back with its first answer.
_CALM = 5.0


class HubWatch:
    """Observes the outcome of each request to the Hub.

    `grace`: seconds for which a formerly public model is served without the Hub.
    """

    def __init__(
        self,
        endpoint: str,
        grace: float,
        clock: Clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._grace, self._clock, self._wall = endpoint, grace, clock, wall
        self._unavailable_since: float | None = None
        self._answered_at = self._failed_at = float("-inf")
        self._failures = 0  # since the last answer
        self.unavailable_since: float | None = None  # seconds since 1970; None: it answers

    def note(self, error: BaseException | None) -> None:
        """`error`: None for a success, the Hub's refusal, or why it did not answer."""
        if isinstance(error, HubLimited):
            return  # the Hub answers, and limits one token
        if isinstance(error, HubUnavailable):
            self._failed(error)
        elif error is None or isinstance(error, RouterError):
            self._answered()

    def _failed(self, error: HubUnavailable) -> None:
        now = self._clock()
        self._failed_at, self._failures = now, self._failures + 1
        if self._unavailable_since is None and (
            self._failures > 1 or now - self._answered_at >= _CALM
        ):
            self._unavailable_since, self.unavailable_since = now, self._wall()
            _log.warning(
                "the Hub can't be asked: %s (%s); %s",
                error.cause or error.message,
                self._endpoint,
                self._still_works(),
            )

    def _answered(self) -> None:
        now = self._clock()
        self._answered_at = now
        if self._unavailable_since is None:
            self._failures = 0
        elif now - self._failed_at >= _CALM:
            _log.info("the Hub can be asked again, after %.0f s", now - self._unavailable_since)
            self._unavailable_since = self.unavailable_since = None
            self._failures = 0

    def _still_works(self) -> str:
        """What still works without the Hub, with times in UTC as in the log."""
        now = datetime.fromtimestamp(self._wall(), UTC)
        entitled = now + timedelta(seconds=ANSWER_TTL)
        told = (
            "until it can, your own models that were checked before are served, and so is "
            f"what a caller was entitled to, until {entitled:%H:%M:%S} UTC"
        )
        if self._grace > 0:
            public = now + timedelta(seconds=self._grace)
            told += f", and what was seen public, until {public:%Y-%m-%d %H:%M} UTC at most"
        return told + "; all else gets hub_unavailable"
