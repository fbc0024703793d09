"""The calls that need the same snapshot: one downloads it, the others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from router.pool.interfaces import Callers, FetchProgress, Snapshot
from router.repository.conditions import Conditions


@dataclass(frozen=True, eq=False)
class _Member:
    """One call that waits for a snapshot."""

    progress: Callable[[FetchProgress], None]
    callers: Callers
    conditions: Conditions | None  # of its engine's start


class SharedDownload:
    """All calls for one snapshot. Hold `lock` to find, download or remove it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._members: list[_Member] = []

    @contextmanager
    def joined(
        self,
        progress: Callable[[FetchProgress], None],
        callers: Callers,
        conditions: Conditions | None,
    ) -> Iterator[None]:
        """Count as one of the calls during the block."""
        member = _Member(progress, callers, conditions)
        self._members.append(member)
        try:
            yield
        finally:
            self._members.remove(member)

    def callers(self) -> Collection[str | None]:
        """All callers that wait for it. A shared download belongs to each of them."""
        return {caller for member in self._members for caller in member.callers()}

    def report(self, progress: FetchProgress, on: Conditions | None = None) -> None:
        """Report progress to all calls.

        A memory plan in it holds only for the conditions `on`, so other starts don't get it.
        """
        unplanned = progress
        if (described := progress.described) is not None:
            unplanned = replace(progress, described=Snapshot(described.path))
        for member in tuple(self._members):
            member.progress(progress if member.conditions == on else unplanned)
