"""Finds a model that is already on the disk, in any cache."""

from __future__ import annotations

from pathlib import Path

from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots, has_safe_weights
from router.downloads.terms import DownloadTerms
from router.models import ResolvedModel


class LocalSnapshots:
    """`last_used` records each use of a snapshot in the cache for downloads."""

    def __init__(self, terms: DownloadTerms, last_used: LastUsed | None = None) -> None:
        self._terms, self._last_used = terms, last_used

    def find(self, model: ResolvedModel) -> Path | None:
        for cache in self._terms.in_order:
            found = Snapshots(cache).find(model.repo_id, model.commit)
            # Unsafe weights may have been allowed at the download, but not now.
            if found and (self._terms.allow_unsafe_weights or has_safe_weights(found)):
                if cache != self._terms.cache or self._last_used is None:
                    return found
                self._last_used.record(model.repo_id, model.commit)
                # Look again: another worker may have begun to remove it just before.
                return Snapshots(cache).find(model.repo_id, model.commit)
        return None
