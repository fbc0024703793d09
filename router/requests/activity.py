"""The requests in progress, and the most recent finished ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import islice

from router.feed import Feed, Follower
from router.requests.record import Record

KEPT = 1000  # records of finished requests


class Activity:
    """Tracks request records. Followers get each one at its beginning and at its end."""

    def __init__(self, kept: int = KEPT) -> None:
        self._running: dict[Record, None] = {}
        self._ended: deque[Record] = deque(maxlen=kept)
        self._feed: Feed[Record] = Feed()
        self.total = 0  # number of all finished requests

    def begin(self, record: Record) -> None:
        self._running[record] = None
        if self._feed.followed:
            self._feed.send(record)

    def end(self, record: Record) -> None:
        self._running.pop(record, None)
        self._ended.append(record)
        self.total += 1
        if self._feed.followed:
            self._feed.send(record)

    def drop(self, record: Record) -> None:
        """Remove a record without reporting it, because its request is not for a model."""
        self._running.pop(record, None)

    @property
    def running(self) -> Sequence[Record]:
        """The requests in progress, oldest first."""
        return tuple(self._running)

    @property
    def ended(self) -> Sequence[Record]:
        """The most recent finished requests, latest first."""
        return tuple(reversed(self._ended))

    def latest(self, number: int) -> Sequence[Record]:
        """The first `number` of `ended`."""
        return tuple(islice(reversed(self._ended), number))

    def follow(self) -> AbstractContextManager[Follower[Record]]:
        return self._feed.follow()
