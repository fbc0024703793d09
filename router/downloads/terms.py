"""The terms of all downloads of a worker, and the requests to download processes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from router.downloads.request import DownloadRequest
from router.models import Access, ResolvedModel
from router.repository.conditions import Conditions
from router.repository.memory_plan import most_stored
from router.repository.spread import widest
from router.secrets import Token

HEARTBEAT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class DownloadTerms:
    cache: Path  # the Hub cache directory to download to
    caches: tuple[Path, ...]  # other caches, which may already have a snapshot or its files
    max_model_bytes: int | None
    allow_unsafe_weights: bool
    heartbeat: float = HEARTBEAT  # seconds between two signs of life, on a shared volume

    @property
    def in_order(self) -> tuple[Path, ...]:
        """All caches that may have a snapshot, in order of preference."""
        return tuple(dict.fromkeys((*self.caches, self.cache)))

    def request(
        self, model: ResolvedModel, credential: Token | None, conditions: Conditions | None
    ) -> DownloadRequest:
        return DownloadRequest(
            repo_id=model.repo_id,
            commit=model.commit,
            token=credential.reveal() if credential else None,
            cache=str(self.cache),
            visible=model.access in (Access.PUBLIC, Access.GATED),
            max_bytes=self._most_bytes(conditions),
            unsafe_weights=self.allow_unsafe_weights,
            owner=secrets.token_hex(16),
            heartbeat=self.heartbeat,
            source_caches=tuple(map(str, self.in_order)),
            conditions=conditions,
        )

    def _most_bytes(self, conditions: Conditions | None) -> int | None:
        """The size limit of a model's files. Without a setting, it is the size above which the
        model can't fit these conditions."""
        if self.max_model_bytes is not None or conditions is None:
            return self.max_model_bytes
        return most_stored(conditions, widest(conditions))
