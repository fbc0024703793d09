"""Caches the Hub's answers within the limits of entitlement.

Only answers to anonymous requests are shared, and only between anonymous callers. For a
caller with a token the Hub is always asked with that token. What one caller learns therefore
never depends on another caller's requests.
"""

from __future__ import annotations

import random as chance
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from cachetools import TLRUCache, TTLCache

from router.clock import Clock
from router.errors import (
    AccessError,
    HubLimited,
    HubUnavailable,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RouterError,
)
from router.hub.interfaces import Hub, HubAnswer
from router.hub.singleflight import ANSWER_TTL, MAX_ENTRIES, SingleFlightCache
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

PUBLIC_GRACE = 24 * 3600.0  # seconds; for how long a public model is served without the Hub
PUBLIC_PATIENCE = 2.0  # seconds that callers of a public model wait for a Hub that hangs
MAX_RATE_LIMIT = 300.0  # seconds; the Hub counts requests in windows of five minutes

_MANY = 1024  # entitlements of one token; beyond this, expired ones are removed

Digest = str | None  # of the caller's token; None: anonymous
_Entitlement = tuple[Digest, str, str]  # canonical repository, commit
P = ParamSpec("P")
V = TypeVar("V")


class CachedHub:
    """Implements `CachingHub` on top of a `Hub`."""

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        *,
        public_grace: float = PUBLIC_GRACE,
        public_patience: float = PUBLIC_PATIENCE,
        random: Callable[[], float] = chance.random,
    ) -> None:
        """`public_grace` and `public_patience` are in seconds."""
        self._hub, self._clock, self._public_patience = hub, clock, public_patience
        self._resolutions: SingleFlightCache[tuple[Digest, ModelRef], ResolvedModel] = (
            SingleFlightCache(clock, random)
        )
        self._entitlements: SingleFlightCache[_Entitlement, None] = SingleFlightCache(
            clock, random
        )
        # Maps a token's digest to the time until which the Hub asked us not to call.
        self._limited_until: TLRUCache[Digest, float] = TLRUCache(
            MAX_ENTRIES, ttu=lambda _, until, __: until, timer=clock
        )
        # The keys in `_entitlements` by token, so that a refusal need not search all of them.
        self._entitlements_of: TTLCache[Digest, set[_Entitlement]] = TTLCache(
            MAX_ENTRIES, ANSWER_TTL, timer=clock
        )
        # What was public when last seen: names as written, and canonical repositories.
        self._public_names: TTLCache[ModelRef, ResolvedModel] = TTLCache(
            MAX_ENTRIES, public_grace, timer=clock
        )
        self._public_repos: TTLCache[str, bool] = TTLCache(
            MAX_ENTRIES, public_grace, timer=clock
        )

    async def resolve(
        self, ref: ModelRef, credential: Token | None
    ) -> HubAnswer[ResolvedModel]:
        """Implements `CachingHub.resolve`."""
        digest = credential.digest if credential else None

        async def ask() -> ResolvedModel:
            try:
                model = await self._within_limits(digest, self._hub.resolve, ref, credential)
            except RouterError as error:
                self._note_refusal(error, digest, ref.repo_id, self._public_names.get(ref))
                raise
            self._note_access(ref, model)
            return model

        within = self._patience(self._public_names.get(ref))
        try:
            return await self._resolutions.get((digest, ref), ask, within=within)
        except HubUnavailable:
            seen = self._public_names.get(ref)
            if seen is None or seen.repo_id not in self._public_repos:
                raise
            return HubAnswer(seen)

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> HubAnswer[None]:
        """Implements `CachingHub.entitle`."""
        digest = credential.digest if credential else None

        async def ask() -> None:
            try:
                await self._within_limits(digest, self._hub.entitle, model, credential)
            except RouterError as error:
                self._note_refusal(error, digest, model.repo_id, model)
                raise
            self._note_entitlement((digest, model.repo_id, model.commit))

        try:
            return await self._entitlements.get(
                (digest, model.repo_id, model.commit), ask, within=self._patience(model)
            )
        except HubUnavailable:
            if model.repo_id not in self._public_repos:
                raise
            return HubAnswer(None)

    def invalidate(self) -> None:
        """Drop all cached answers, and don't cache those of running requests.

        Called when the worker was frozen and thawed. What was last seen public stays: its
        grace is for the times when the Hub can't be asked.
        """
        self._resolutions.clear()
        self._entitlements.clear()
        self._limited_until.clear()

    async def close(self) -> None:
        """Cancel running requests and wait for them; their callers get `HubUnavailable`."""
        await self._resolutions.close()
        await self._entitlements.close()

    def _patience(self, model: ResolvedModel | None) -> float | None:
        """Seconds to wait for the Hub: bounded if the model can be served without it."""
        public = model is not None and model.repo_id in self._public_repos
        return self._public_patience if public else None

    async def _within_limits(
        self, digest: Digest, call: Callable[P, Awaitable[V]], *args: P.args, **kwargs: P.kwargs
    ) -> V:
        """Call the Hub, unless it limits this token. Other tokens are not affected."""
        until = self._limited_until.get(digest)
        if until is not None:
            raise HubLimited(until - self._clock())
        try:
            return await call(*args, **kwargs)
        except HubLimited as limited:
            limited.retry_after = min(limited.retry_after, MAX_RATE_LIMIT)
            self._limited_until[digest] = self._clock() + limited.retry_after
            raise

    def _note_entitlement(self, key: _Entitlement) -> None:
        keys = self._entitlements_of.pop(key[0], set())
        if len(keys) >= _MANY:
            keys = {other for other in keys if other in self._entitlements}
        keys.add(key)
        # Inserted anew, so that the set lives as long as its latest entitlement.
        self._entitlements_of[key[0]] = keys

    def _note_access(self, ref: ModelRef, model: ResolvedModel) -> None:
        if model.access is Access.PUBLIC:
            self._public_names[ref] = model
            self._public_repos[model.repo_id] = True
        else:
            self._public_repos.pop(model.repo_id, None)

    def _note_refusal(
        self, error: RouterError, digest: Digest, repo_id: str, model: ResolvedModel | None
    ) -> None:
        """A refusal ends this token's entitlements to the model: all of its entitlements if
        the token itself was refused. It also ends the grace of a model that is not public."""
        if not isinstance(error, AccessError):
            return
        names = {repo_id.casefold(), model.repo_id.casefold() if model else ""}
        bad_token = isinstance(error, InvalidHfToken)
        for key in tuple(self._entitlements_of.get(digest, ())):
            if bad_token or key[1].casefold() in names:
                self._entitlements.discard(key)
                self._entitlements_of[digest].discard(key)
        if model and isinstance(error, ModelNotFound | ModelGated | ModelDisabled):
            self._public_repos.pop(model.repo_id, None)
