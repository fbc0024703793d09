"""The latest requests and those in progress, as JSON for the operator."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from router.feed import Follower
from router.requests.activity import Activity
from router.requests.record import Record

Json = dict[str, Any]

MOST = 250  # requests in progress, and ended ones, in one event; only the latest are sent
RATED_OVER = 60.0  # seconds over which tokens per second are averaged


class RecentRequests:
    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def everything(self) -> Json:
        """All known requests: `running`, and `ended` with the latest first."""
        return {"running": _fields(self._running()), "ended": _fields(self._activity.ended)}

    def tokens_a_second(self, now: float) -> Mapping[str, float]:
        """Generated tokens per second, by model, of requests that ended in the last minute.

        `now` is in seconds since 1970. If more requests ended than are kept, the average is
        over the time since the oldest kept one ended.
        """
        tokens: Counter[str] = Counter()
        ended, over = self._activity.ended, RATED_OVER
        for one in ended:
            if (ago := now - one.at - (one.total or 0.0)) > RATED_OVER:
                break
            tokens[one.model] += one.completion_tokens or 0
            if one is ended[-1] and self._activity.total > len(ended):
                over = max(ago, 1.0)
        return {model: count / over for model, count in tokens.items() if count}

    @contextmanager
    def follow(self, wake: Callable[[], None]) -> Iterator[RequestNews]:
        """Call `wake` whenever a request begins or ends, until the block ends."""
        with self._activity.follow() as follower:
            waking = asyncio.get_running_loop().create_task(_wake(follower, wake))
            try:
                yield RequestNews(self._activity, self._running)
            finally:
                waking.cancel()

    def _running(self) -> list[Record]:
        """The requests in progress, the latest last, without those that only watch."""
        return [one for one in self._activity.running if not one.watches]


class RequestNews:
    """Finds the requests that one listener has not seen yet."""

    def __init__(self, activity: Activity, running: Callable[[], list[Record]]) -> None:
        self._activity, self._running = activity, running
        self._told = activity.total
        self.runs = False  # whether the last news had requests in progress

    def news(self) -> Json | None:
        """Like `everything`, but with only the requests that ended since the last call.

        None if nothing has changed.
        """
        fresh = min(self._activity.total - self._told, MOST)
        running = self._running()[-MOST:]
        if not (fresh or running or self.runs):
            return None
        self._told, self.runs = self._activity.total, bool(running)
        return {"running": _fields(running), "ended": _fields(self._activity.latest(fresh))}


async def _wake(follower: Follower[Record], wake: Callable[[], None]) -> None:
    while True:
        await follower.get()
        wake()


def _fields(records: Iterable[Record]) -> list[dict[str, object]]:
    return [record.fields() for record in records]
