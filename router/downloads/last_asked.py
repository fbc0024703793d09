"""When private models were last asked for: noted beside their files, so that it is known to
every worker on a volume, and to those who come after."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)


class LastAsked:
    """Empty files in a Hub cache, one a snapshot; their times are what is told."""

    def __init__(self, cache: Path, wall: Callable[[], float] = time.time) -> None:
        self._folder, self._wall = cache / "router-private", wall

    def note(self, repo_id: str, commit: str) -> None:
        """It is asked for now."""
        path = self._path(repo_id, commit)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            # Where nothing can be written, nothing was downloaded to.
            _log.warning("can't note when private models were asked for: %s", error.strerror)

    def renew(self, repo_id: str, commit: str, ago: float) -> None:
        """It was asked for so many seconds ago, if not later; where it is noted at all."""
        path, then = self._path(repo_id, commit), self._wall() - ago
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < then:
                os.utime(path, (then, then))

    def forget(self, repo_id: str, commit: str) -> None:
        # Its folder stays: another worker may be about to note something there.
        self._path(repo_id, commit).unlink(missing_ok=True)

    def ago(self, repo_id: str, commit: str) -> float:
        """Seconds; none at all where it is not noted: nobody may conclude anything."""
        try:
            return self._wall() - self._path(repo_id, commit).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def all(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of every model that is noted."""
        for folder, _, commits in os.walk(self._folder):  # passes over what goes meanwhile
            parts = Path(folder).name.split("--")  # no name has two dashes in a row
            if len(parts) == 3:
                yield from ((f"{parts[1]}/{parts[2]}", commit) for commit in commits)

    def _path(self, repo_id: str, commit: str) -> Path:
        return self._folder / f"models--{repo_id.replace('/', '--')}" / commit
