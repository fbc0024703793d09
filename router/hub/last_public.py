"""Remembers what was public when the Hub last said so, for times when it does not answer."""

from __future__ import annotations

from cachetools import TTLCache

from router.clock import Clock
from router.errors import HubLimited, HubUnavailable
from router.hub.singleflight import MAX_ENTRIES
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

MAX_RATE_LIMIT = 300.0  # seconds; the Hub counts requests in windows of five minutes


class LastPublic:
    """Remembers names as written, and canonical repositories, for `grace` seconds each."""

    def __init__(self, clock: Clock, grace: float) -> None:
        self._clock = clock
        self._names: TTLCache[ModelRef, ResolvedModel] = TTLCache(
            MAX_ENTRIES, grace, timer=clock
        )
        self._repos: TTLCache[str, float] = TTLCache(MAX_ENTRIES, grace, timer=clock)

    def __contains__(self, repo_id: str) -> bool:
        return repo_id in self._repos

    def named(self, ref: ModelRef) -> ResolvedModel | None:
        """The model that the name meant. It may no longer be public."""
        return self._names.get(ref)

    def note(self, ref: ModelRef, model: ResolvedModel) -> None:
        if model.access is Access.PUBLIC:
            self._names[ref] = model
            self._repos[model.repo_id] = self._clock()
        else:
            self.forget(model.repo_id)

    def forget(self, repo_id: str) -> None:
        self._repos.pop(repo_id, None)

    def has_grace(self, repo_id: str, error: HubUnavailable, credential: Token | None) -> bool:
        """Whether the model was seen public recently enough to serve it despite this `error`.

        A Hub that rate-limits this machine is not down, and anyone with the same address can
        cause that. In that case the grace period is only one of the Hub's windows.
        """
        since = self._repos.get(repo_id)
        if since is None or credential is not None or not isinstance(error, HubLimited):
            return since is not None
        return self._clock() < since + MAX_RATE_LIMIT
