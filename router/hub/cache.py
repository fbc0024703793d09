"""The Hub's answers, remembered for as long as they may be believed.

What is shared between callers: nothing but what an anonymous caller was told, and that
among anonymous callers only. Who brings a token is always asked about with that token, so
that what one caller learns never depends on who came before.
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
from router.hub.interfaces import Hub
from router.hub.singleflight import ANSWER_TTL, MAX_ANSWERS, Answers
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

PUBLIC_GRACE = 24 * 3600.0  # seconds; a model last seen public is served so long without it
PATIENCE = 2.0  # seconds that such a model's callers wait for a Hub that hangs
LONGEST_LIMIT = 300.0  # seconds; the Hub counts requests in windows of five minutes

_MANY = 1024  # entitlements of one token, before the expired ones are sorted out

Digest = str | None  # of the caller's token; None: anonymous
_Entitlement = tuple[Digest, str, str]  # canonical repository, commit
P = ParamSpec("P")
V = TypeVar("V")


class CachedHub:
    """Implements the port `Hub` on top of another, within the design's invariants 0 and 1."""

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        *,
        public_grace: float = PUBLIC_GRACE,
        patience: float = PATIENCE,
        random: Callable[[], float] = chance.random,
    ) -> None:
        """`public_grace` and `patience` are in seconds, like all that `clock` tells."""
        self._hub, self._clock, self._patience = hub, clock, patience
        self._resolutions: Answers[tuple[Digest, ModelRef], ResolvedModel] = Answers(
            clock, random
        )
        self._entitlements: Answers[_Entitlement, None] = Answers(clock, random)
        # Until when the Hub wants to hear no more of whom.
        self._limited: TLRUCache[Digest, float] = TLRUCache(
            MAX_ANSWERS, ttu=lambda _, until, __: until, timer=clock
        )
        # Whose entitlement is which: a refusal must not cost a look at everybody's.
        self._held: TTLCache[Digest, set[_Entitlement]] = TTLCache(
            MAX_ANSWERS, ANSWER_TTL, timer=clock
        )
        # What was last seen public: names as written, and the repositories behind them.
        self._public_names: TTLCache[ModelRef, ResolvedModel] = TTLCache(
            MAX_ANSWERS, public_grace, timer=clock
        )
        self._public_repos: TTLCache[str, bool] = TTLCache(
            MAX_ANSWERS, public_grace, timer=clock
        )

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Implements `Hub.resolve`."""
        digest = credential.digest if credential else None

        async def ask() -> ResolvedModel:
            try:
                model = await self._within_limits(digest, self._hub.resolve, ref, credential)
            except RouterError as error:
                self._note_refusal(error, digest, ref.repo_id, self._public_names.get(ref))
                raise
            self._note_access(ref, model)
            return model

        within = self._within(self._public_names.get(ref))
        try:
            return await self._resolutions.get((digest, ref), ask, within=within)
        except HubUnavailable:
            seen = self._public_names.get(ref)
            if seen is None or seen.repo_id not in self._public_repos:
                raise
            return seen

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Implements `Hub.entitle`."""
        digest = credential.digest if credential else None

        async def ask() -> None:
            try:
                await self._within_limits(digest, self._hub.entitle, model, credential)
            except RouterError as error:
                self._note_refusal(error, digest, model.repo_id, model)
                raise
            self._hold((digest, model.repo_id, model.commit))

        try:
            await self._entitlements.get(
                (digest, model.repo_id, model.commit), ask, within=self._within(model)
            )
        except HubUnavailable:
            if model.repo_id not in self._public_repos:
                raise

    def forget(self) -> None:
        """Believe nothing from before now, not even what is being asked: after a thaw.

        What was last seen public stays: its grace is for the times when nobody can ask.
        """
        self._resolutions.clear()
        self._entitlements.clear()
        self._limited.clear()

    async def close(self) -> None:
        """Cancel what is being asked, and wait for it; its callers get `HubUnavailable`."""
        await self._resolutions.close()
        await self._entitlements.close()

    def _within(self, model: ResolvedModel | None) -> float | None:
        """How long to wait for an answer that there is a substitute for."""
        public = model is not None and model.repo_id in self._public_repos
        return self._patience if public else None

    async def _within_limits(
        self, digest: Digest, ask: Callable[P, Awaitable[V]], *args: P.args, **kwargs: P.kwargs
    ) -> V:
        """Ask for whom the Hub's limit allows; who is over it waits for its reset, alone."""
        until = self._limited.get(digest)
        if until is not None:
            raise HubLimited(until - self._clock())
        try:
            return await ask(*args, **kwargs)
        except HubLimited as limited:
            limited.retry_after = min(limited.retry_after, LONGEST_LIMIT)
            self._limited[digest] = self._clock() + limited.retry_after
            raise

    def _hold(self, key: _Entitlement) -> None:
        held = self._held.pop(key[0], set())
        if len(held) >= _MANY:
            held = {other for other in held if other in self._entitlements}
        held.add(key)
        self._held[key[0]] = held  # anew, so that it lives as long as its latest

    def _note_access(self, ref: ModelRef, model: ResolvedModel) -> None:
        if model.access is Access.PUBLIC:
            self._public_names[ref] = model
            self._public_repos[model.repo_id] = True
        else:
            self._public_repos.pop(model.repo_id, None)

    def _note_refusal(
        self, error: RouterError, digest: Digest, repo_id: str, model: ResolvedModel | None
    ) -> None:
        """A refusal ends this caller's entitlement, and the grace of what is public no more."""
        if not isinstance(error, AccessError):
            return
        names = {repo_id.casefold(), model.repo_id.casefold() if model else ""}
        bad_token = isinstance(error, InvalidHfToken)
        for key in tuple(self._held.get(digest, ())):
            if bad_token or key[1].casefold() in names:
                self._entitlements.drop(key)
                self._held[digest].discard(key)
        if model and isinstance(error, ModelNotFound | ModelGated | ModelDisabled):
            self._public_repos.pop(model.repo_id, None)
