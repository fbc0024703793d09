"""Makes room on the disk: removes whole snapshots, the least recently used first.

It removes only snapshots with the router's own manifest, and leftovers of its interrupted
downloads. It never removes a snapshot that an engine or a download needs, that is the
operator's, or that another worker on the volume has just used. It removes nothing unless it
can free enough, so that a download that can't fit costs nobody a model.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.downloads.last_used import LastUsed
from router.downloads.operators import OperatorsSnapshots
from router.downloads.removal import SnapshotRemoval
from router.downloads.snapshots import WITHDRAWN, Snapshots
from router.downloads.space import Commit
from router.models import EngineKey

_log = logging.getLogger(__name__)

ABANDONED_AFTER = 3600.0  # seconds; an older unfinished download counts as abandoned
INTERVAL = 60.0  # seconds between two records of an engine's use
JUST_USED = 3 * INTERVAL


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot on disk."""

    repo_id: str
    commit: str
    files: Mapping[Path, int]  # bytes; commits of one repository share some
    idle: float  # seconds since its last use

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


class SnapshotUse(Protocol):
    """The part of the engine pool used here."""

    def unused_for(self) -> Mapping[EngineKey, float]: ...

    def in_use(self) -> Collection[Commit]: ...


class SnapshotEviction:
    """Implements `router.downloads.space.RoomMaker` for one Hub cache directory."""

    def __init__(
        self,
        cache: Path,
        *,
        last_used: LastUsed,
        unfinished: LastUsed,
        use: SnapshotUse,
        removal: SnapshotRemoval,
        operators: OperatorsSnapshots,
    ) -> None:
        """`last_used` has a record for each snapshot, `unfinished` for each download that has
        begun but not ended."""
        self._snapshots = Snapshots(cache)
        self._last_used, self._unfinished = last_used, unfinished
        self._use, self._removal, self._operators = use, removal, operators
        self._in_use: frozenset[Commit] = frozenset()

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Record the use of engines periodically, forever."""
        while True:
            await sleep(INTERVAL)
            try:
                await self._record()
            except OSError as error:  # a faulty volume must not end the worker
                _log.error("the use of models could not be recorded: %s", error)

    async def total(self) -> int:
        """Bytes of all snapshots. A file that several of them share counts once."""
        stored = await asyncio.to_thread(self._stored)
        return sum({path: size for one in stored for path, size in one.files.items()}.values())

    async def can_free(self, needed: int, comes: Commit, spared: Collection[str]) -> bool:
        """Whether snapshots of `needed` bytes may be removed."""
        await self._record()
        return bool(await asyncio.to_thread(self._chosen, needed, comes, spared))

    async def make_room(self, needed: int, comes: Commit, spared: Collection[str]) -> None:
        """Remove snapshots of `needed` bytes; none if all that may go have fewer.

        `comes`: the repository and commit that need the room. Their download waits. It holds
        the lock on the repository, and has linked the files that it needs of other commits.
        """
        await self._record()
        for one in await asyncio.to_thread(self._chosen, needed, comes, spared):
            if needed > 0 and await self._remove(one, locked=one.repo_id == comes[0]):
                needed -= sum(size for path, size in one.files.items() if not path.exists())

    async def _record(self) -> None:
        unused = self._use.unused_for()
        self._operators.note(unused)
        self._in_use = frozenset(self._use.in_use())
        await asyncio.to_thread(self._update, unused)

    def _update(self, unused: Mapping[EngineKey, float]) -> None:
        for key, seconds in unused.items():
            model = (key.repo_id, key.commit)
            # For other workers, an idle engine counts as using its files.
            self._last_used.update(*model, 0.0 if model in self._in_use else seconds)
        self._release()

    def _release(self) -> None:
        """Release unused snapshots: `hf cache prune` may then remove those without a branch."""
        for model in self._snapshots.refs.in_use():
            unused = self._last_used.seconds_ago(*model) >= JUST_USED
            if unused and model not in self._in_use and not self._operators.include(*model):
                self._snapshots.refs.release(*model)

    def _chosen(self, needed: int, comes: Commit, spared: Collection[str]) -> list[Stored]:
        """All that may be removed, least recently used first; none if they free too little."""
        stored = self._stored()
        uses = Counter(path for one in stored for path in one.files)
        uses.update(self._snapshots.own_files(*comes).keys())
        chosen, freed = [], 0
        for one in sorted(stored, key=lambda one: one.idle, reverse=True):
            model = (one.repo_id, one.commit)
            if model != comes and one.repo_id not in spared and self._may_leave(one):
                uses.subtract(one.files.keys())
                freed += sum(size for path, size in one.files.items() if not uses[path])
                chosen.append(one)
        return chosen if freed >= needed else []

    def _may_leave(self, one: Stored) -> bool:
        model = (one.repo_id, one.commit)
        if model in self._in_use or self._operators.include(*model):
            return False
        return one.idle >= JUST_USED or self._last_used.is_own(one.repo_id, one.commit)

    def _stored(self) -> list[Stored]:
        whole = set(self._snapshots.all())
        unfinished = {
            model
            for model in self._unfinished.all()
            if self._unfinished.seconds_ago(*model) > ABANDONED_AFTER
        }
        return [self._look_at(*model) for model in whole | unfinished]

    def _look_at(self, repo_id: str, commit: str) -> Stored:
        files = self._snapshots.own_files(repo_id, commit)
        return Stored(repo_id, commit, files, self._idle(repo_id, commit))

    def _idle(self, repo_id: str, commit: str) -> float:
        """Seconds since the last use, or since the download if no use was recorded."""
        manifest = self._snapshots.manifest(repo_id, commit)
        came = (
            manifest,
            manifest.with_suffix(WITHDRAWN),
            self._unfinished.path(repo_id, commit),
        )
        return self._last_used.seconds_ago(repo_id, commit, or_since=came)

    async def _remove(self, one: Stored, *, locked: bool) -> bool:
        model = (one.repo_id, one.commit)

        def used_meanwhile() -> bool:
            # Used by another worker. This worker's own requests wait for the removal.
            return self._idle(*model) < one.idle

        try:
            gone = await self._removal.remove(
                *model, used_meanwhile, abandoned_after=ABANDONED_AFTER, locked=locked
            )
        except OSError as error:  # try the next snapshot
            _log.error("%s could not be removed: %s", one, error)
            return False
        if gone:
            _log.info("removed %s from the disk, to make room", one)
        return gone
