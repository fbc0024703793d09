"""Finds the files of a snapshot that are already on the disk before its download."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from router.downloads.request import DownloadRequest
from router.downloads.snapshots import Snapshots
from router.downloads.source_caches import link_from_caches
from router.downloads.volume_lock import DEAD_AFTER_POLLS, VolumeLock
from router.repository.files import RemoteFile

ABANDONED_AFTER = 3600.0  # seconds without a write to a partial file


class PresentFiles:
    """The files of one snapshot. Only `bytes_done` and `link` don't need the volume lock."""

    def __init__(self, request: DownloadRequest, snapshots: Snapshots) -> None:
        self._request, self._snapshots = request, snapshots

    def clean_up(self, lock: VolumeLock) -> None:
        """Remove lock files and partial files that other processes left."""
        self._snapshots.remove_client_locks(self._request.repo_id)
        self._remove_abandoned(lock)

    def use(self, files: Sequence[RemoteFile]) -> None:
        """Link those of `files` into the snapshot that are on the disk and complete."""
        repo_id, commit = self._request.repo_id, self._request.commit
        self._snapshots.remove_damaged(repo_id, commit, files)
        self.link(files)
        self._snapshots.link_present(repo_id, commit, files)

    def link(self, files: Sequence[RemoteFile]) -> None:
        """Link those of `files` that a source cache has."""
        repo_id, commit = self._request.repo_id, self._request.commit
        sources = map(Path, self._request.source_caches)
        link_from_caches(self._snapshots, repo_id, commit, files, sources)

    def bytes_done(self, files: Sequence[RemoteFile], partials: Iterable[Path] = ()) -> int:
        """Bytes on disk, of `files` and in `partials`."""
        repo_id, commit = self._request.repo_id, self._request.commit
        present = self._snapshots.bytes_present(repo_id, commit, files)
        return present + sum(map(_written, partials))

    def _remove_abandoned(self, lock: VolumeLock) -> None:
        """Remove the partial files of dead workers, which no download would resume."""
        # A dead lock holder wrote nothing for this long. If no holder died, a partial file may
        # belong to a program that uses the cache without this lock.
        silence = DEAD_AFTER_POLLS * self._request.heartbeat / 2
        limit = silence / 2 if lock.previous_holder_died else ABANDONED_AFTER
        for partial in self._snapshots.partials(self._request.repo_id):
            with suppress(FileNotFoundError):
                if lock.age_of(partial) > limit:
                    partial.unlink()


def _written(partial: Path) -> int:
    """Bytes written to a file that may be sparse, or already gone."""
    try:
        status = partial.stat()
    except FileNotFoundError:
        return 0
    return min(status.st_size, status.st_blocks * 512)
