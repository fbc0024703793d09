"""Remembers unfinished downloads, because the router must remove what they leave behind."""

from __future__ import annotations

from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots
from router.models import ResolvedModel


class UnfinishedDownloads:
    """`record` has the unfinished downloads; None: they are not remembered."""

    def __init__(self, record: LastUsed | None, snapshots: Snapshots) -> None:
        self._record, self._snapshots = record, snapshots

    def begin(self, model: ResolvedModel) -> None:
        """Record the download, unless another program has put files there."""
        repo_id, commit = model.repo_id, model.commit
        if self._record is not None and (
            not self._snapshots.path(repo_id, commit).exists()
            or self._record.path(repo_id, commit).exists()
        ):
            self._record.record(repo_id, commit)

    def end(self, model: ResolvedModel) -> None:
        """Remove the record, if the snapshot is complete or nothing is left of it."""
        repo_id, commit = model.repo_id, model.commit
        left = self._snapshots.path(repo_id, commit).exists()
        if self._record is not None and not (
            left and not self._snapshots.find(repo_id, commit)
        ):
            self._record.forget(repo_id, commit)
