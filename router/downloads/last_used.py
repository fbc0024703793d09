"""When private models were last used. Stored beside their files, so that all workers on a
volume know it, and workers that start later."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)


class LastUsed:
    """One empty file per snapshot below `router-private` in a Hub cache.

    The file's modification time is the time of the last use. All workers on a volume must
    agree on these paths, so their names can't change.
    """

    def __init__(self, cache: Path, wall: Callable[[], float] = time.time) -> None:
        """`wall` returns seconds since the epoch."""
        self._folder, self._wall = cache / "router-private", wall

    def record(self, repo_id: str, commit: str) -> None:
        """Record a use now. A failure is logged, not raised."""
        path = self._path(repo_id, commit)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            # A cache that can't be written holds no downloads either.
            _log.warning("can't record the use of a private model: %s", error.strerror)

    def update(self, repo_id: str, commit: str, ago: float) -> None:
        """Record a use `ago` seconds ago, if that is later than the recorded one.

        Does nothing for a model without a record.
        """
        path, then = self._path(repo_id, commit), self._wall() - ago
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < then:
                os.utime(path, (then, then))

    def forget(self, repo_id: str, commit: str) -> None:
        # The folder stays: another worker may be about to write a record there.
        self._path(repo_id, commit).unlink(missing_ok=True)

    def seconds_ago(self, repo_id: str, commit: str) -> float:
        """Seconds since the last use; 0 without a record, so that the model stays."""
        try:
            return self._wall() - self._path(repo_id, commit).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def all(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of every recorded model."""
        for folder, _, commits in os.walk(self._folder):  # tolerates concurrent deletions
            parts = Path(folder).name.split("--")  # no Hub name has two dashes in a row
            if len(parts) == 3:
                yield from ((f"{parts[1]}/{parts[2]}", commit) for commit in commits)

    def _path(self, repo_id: str, commit: str) -> Path:
        return self._folder / f"models--{repo_id.replace('/', '--')}" / commit
