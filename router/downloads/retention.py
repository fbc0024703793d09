"""Removes private models from the disk when they have not been used for a while.

It applies only to models that callers named; the operator's models stay. A model is removed
when no entitled caller has used it for the time to live and no engine has it loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from router.downloads.last_used import LastUsed
from router.downloads.removal import SnapshotRemoval
from router.models import EngineKey

_log = logging.getLogger(__name__)

MAX_INTERVAL = 60.0  # seconds between two sweeps; less if the time to live is short


class PrivateModelRetention:
    """Removes private models that nobody has used for `ttl` seconds."""

    def __init__(
        self,
        last_used: LastUsed,
        *,
        ttl: float,
        unused_for: Callable[[], Mapping[EngineKey, float]],
        removal: SnapshotRemoval,
    ) -> None:
        """`last_used` has records of private models only. `unused_for` returns, for each model
        of the pool, the seconds since a request last used it."""
        self._last_used, self._ttl = last_used, ttl
        self._unused_for, self._removal = unused_for, removal

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep periodically, forever."""
        while True:
            await sleep(min(MAX_INTERVAL, self._ttl / 4))
            try:
                await self.sweep()
            except OSError as error:  # a faulty volume must not end the worker
                _log.error("private files could not be removed: %s", error)

    async def sweep(self) -> None:
        """Remove every model that is due. Raises `OSError`."""
        for repo_id, commit in await asyncio.to_thread(self._due, self._unused_for()):
            recently_used = partial(self._recently_used, repo_id, commit)
            gone = await self._removal.remove(
                repo_id, commit, recently_used, abandoned_after=self._ttl
            )
            if gone:
                _log.info("removed %s@%s from the disk: it was not used", repo_id, commit[:12])

    def _due(self, unused: Mapping[EngineKey, float]) -> list[tuple[str, str]]:
        """Update the records from the pool; return the models that are due."""
        listed = {(key.repo_id, key.commit) for key in unused if key.listed}
        for key, seconds in unused.items():
            self._last_used.update(key.repo_id, key.commit, seconds)
        for model in listed:
            self._last_used.forget(*model)
        return [model for model in self._last_used.all() if not self._recently_used(*model)]

    def _recently_used(self, repo_id: str, commit: str) -> bool:
        return self._last_used.seconds_ago(repo_id, commit) < self._ttl
