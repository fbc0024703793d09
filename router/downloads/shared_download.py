"""The calls that want the same snapshot: one downloads it, the others wait."""

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
    conditions: Conditions | None  # of the start that it is for


class SharedDownload:
    """Of one snapshot. `lock` is held while it is looked for, downloaded or removed."""

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
        """Wait with the others, for the block."""
        member = _Member(progress, callers, conditions)
        self._members.append(member)
        try:
            yield
        finally:
            self._members.remove(member)

    def callers(self) -> Collection[str | None]:
        """All that wait for it: a download that many want is each one's own."""
        return {caller for member in self._members for caller in member.callers()}

    def report(self, progress: FetchProgress, on: Conditions | None = None) -> None:
        """`on`: what a plan in it is for. To other starts it says nothing of their memory."""
        unplanned = progress
        if (described := progress.described) is not None:
            unplanned = replace(progress, described=Snapshot(described.path))
        for member in tuple(self._members):
            member.progress(progress if member.conditions == on else unplanned)
