"""Finds a model that is on the disk already, in whichever cache."""

from __future__ import annotations

from pathlib import Path

from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots, has_safe_weights
from router.downloads.terms import DownloadTerms
from router.models import ResolvedModel


class LocalSnapshots:
    """`last_used`: records each use of a snapshot in the cache that downloads go to."""

    def __init__(self, terms: DownloadTerms, last_used: LastUsed | None = None) -> None:
        self._terms, self._last_used = terms, last_used

    def find(self, model: ResolvedModel) -> Path | None:
        for cache in self._terms.in_order:
            found = Snapshots(cache).find(model.repo_id, model.commit)
            # Weights that were allowed when they were downloaded may not be allowed now.
            if found and (self._terms.allow_unsafe_weights or has_safe_weights(found)):
                if cache != self._terms.cache or self._last_used is None:
                    return found
                self._last_used.record(model.repo_id, model.commit)
                # Another worker may have begun to remove it before that.
                return Snapshots(cache).find(model.repo_id, model.commit)
        return None
