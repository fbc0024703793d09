"""Records when models were last used. The records are next to the models' files, so that all
workers on a volume see them, even those that start later."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

PRIVATE = "router-private"
ALL = "router-used"
UNFINISHED = "router-unfinished"
PUBLIC = "router-public"


class LastUsed:
    """One file per snapshot in a folder of a Hub cache.

    The file's modification time is the time of the last use; its content names the worker that
    wrote it. All workers on a volume must agree on these paths, so the names can't change.
    """

    def __init__(
        self,
        cache: Path,
        folder: str,
        wall: Callable[[], float] = time.time,
        owner: str = "",
    ) -> None:
        """`folder` is PRIVATE, ALL, UNFINISHED or PUBLIC. `wall` returns seconds since 1970.
        `owner` is a unique name for this worker."""
        self._folder, self._wall, self._owner = cache / folder, wall, owner

    def record(self, repo_id: str, commit: str) -> None:
        """Record a use now. A failure is logged, not raised."""
        path = self.path(repo_id, commit)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._owner)
            os.utime(path)  # writing nothing to an empty file does not change its time
        except OSError as error:
            # A cache that can't be written has no downloads either.
            _log.warning("can't record the use of a model: %s", error)

    def update(self, repo_id: str, commit: str, ago: float) -> None:
        """Record a use `ago` seconds ago, if that is later than the recorded one.

        Does nothing for a model without a record.
        """
        path, then = self.path(repo_id, commit), self._wall() - ago
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < then:
                path.write_text(self._owner)
                os.utime(path, (then, then))

    def forget(self, repo_id: str, commit: str) -> None:
        """Remove the record. A failure is logged, not raised."""
        # The folder stays: another worker may be about to write a record there.
        try:
            self.path(repo_id, commit).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("can't forget the use of a model: %s", error)

    def seconds_ago(self, repo_id: str, commit: str, or_since: Iterable[Path] = ()) -> float:
        """Seconds since the last use; negative if it was recorded by a clock that is ahead.

        Without a record, seconds since the first existing file in `or_since` was written; with
        neither, 0, so that the model stays.
        """
        for path in (self.path(repo_id, commit), *or_since):
            with suppress(FileNotFoundError):
                return self._wall() - path.stat().st_mtime
        return 0.0

    def is_own(self, repo_id: str, commit: str) -> bool:
        """Whether this worker wrote the record."""
        try:
            return self.path(repo_id, commit).read_text() == self._owner
        except OSError:
            return False

    def all(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of every recorded model."""
        for folder, _, commits in os.walk(self._folder):  # tolerates concurrent deletions
            parts = Path(folder).name.split("--")  # no Hub name has two dashes in a row
            if len(parts) == 3:
                yield from ((f"{parts[1]}/{parts[2]}", commit) for commit in commits)

    def path(self, repo_id: str, commit: str) -> Path:
        return self._folder / f"models--{repo_id.replace('/', '--')}" / commit
