"""Caches the Hub's answers as long as the entitlement rules allow.

Only answers to anonymous requests are shared, and only between anonymous callers. For a caller
with a token, the Hub is always asked with that token. So a caller never learns anything from
another caller's requests.
"""

from __future__ import annotations

import random as chance
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from cachetools import TLRUCache, TTLCache

from router.clock import Clock
from router.errors import (
    AccessError,
    FitError,
    HubLimited,
    HubUnavailable,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RouterError,
)
from router.hub.budget import KNOWN, REQUESTS, UNKNOWN, HubBudget, Question
from router.hub.interfaces import ANYBODY, Asker, Hub, HubAnswer
from router.hub.last_public import MAX_RATE_LIMIT, LastPublic
from router.hub.singleflight import ANSWER_TTL, MAX_ENTRIES, SingleFlightCache
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

PUBLIC_GRACE = 24 * 3600.0  # seconds for which a public model is served without the Hub
PUBLIC_PATIENCE = 2.0  # seconds that callers of a public model wait for a Hub that hangs
ACCEPTED_TTL = 3600.0  # seconds for which an accepted token identifies its caller

_UNPROVEN = "?"  # stands for all callers with tokens that the Hub has not accepted yet
_MANY = 1024  # entitlements of one token; at each multiple of this, expired ones are removed

Digest = str | None  # of the caller's token; None: anonymous
_Entitlement = tuple[Digest, str, str]  # token digest, canonical repository, commit
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
        requests: int = REQUESTS,
        random: Callable[[], float] = chance.random,
    ) -> None:
        """`public_grace` and `public_patience` are in seconds. `requests`: see `HubBudget`."""
        self._hub, self._clock, self._public_patience = hub, clock, public_patience
        self._budget = HubBudget(clock, requests=requests)
        self.accepted: TTLCache[str, bool] = TTLCache(MAX_ENTRIES, ACCEPTED_TTL, timer=clock)
        # Names and repositories that the Hub has confirmed, by token digest.
        self._seen: TTLCache[tuple[Digest, str], bool] = TTLCache(
            MAX_ENTRIES, public_grace, timer=clock
        )
        self._resolutions: SingleFlightCache[tuple[Digest, ModelRef], ResolvedModel] = (
            SingleFlightCache(clock, random)
        )
        self._entitlements: SingleFlightCache[_Entitlement, None] = SingleFlightCache(
            clock, random
        )
        # For each token digest, the time until which the Hub asked us not to call.
        self._limited_until: TLRUCache[Digest, float] = TLRUCache(
            MAX_ENTRIES, ttu=lambda _, until, __: until, timer=clock
        )
        # The keys of `_entitlements` by token digest, so that a refusal need not search all of
        # them.
        self._entitlements_of: TTLCache[Digest, set[_Entitlement]] = TTLCache(
            MAX_ENTRIES, ANSWER_TTL, timer=clock
        )
        self._public = LastPublic(clock, public_grace)

    async def resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[ResolvedModel]:
        """Implements `CachingHub.resolve`."""
        try:
            return await self._resolve(ref, credential, asker)
        except HubUnavailable as error:
            seen = self._public.named(ref)
            if seen is None or not self._public.has_grace(seen.repo_id, error, credential):
                raise
            if not isinstance(error, HubLimited) or credential is None:
                return HubAnswer(seen)
            # The Hub does answer, but limits this token. Ask anonymously whether the model is
            # public.
            with suppress(AccessError, FitError):
                public = (await self.resolve(ref, None, asker)).value
                if public.access is Access.PUBLIC:
                    return HubAnswer(public)
            raise

    async def entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[None]:
        """Implements `CachingHub.entitle`."""
        try:
            return await self._entitle(model, credential, asker)
        except HubUnavailable as error:
            if not self._public.has_grace(model.repo_id, error, credential):
                raise
            if not isinstance(error, HubLimited) or credential is None:
                return HubAnswer(None)
            with suppress(AccessError, FitError):  # as above
                await self.entitle(model, None, asker)
                return HubAnswer(None)
            raise

    def invalidate(self) -> None:
        """Drop all cached answers, and don't cache those of running requests.

        Called after the worker was frozen. What was last seen public stays, because its grace
        period exists for times when the Hub can't be asked.
        """
        self._resolutions.clear()
        self._entitlements.clear()
        self._limited_until.clear()

    async def close(self) -> None:
        """Cancel running requests and wait for them; their callers get `HubUnavailable`."""
        await self._resolutions.close()
        await self._entitlements.close()

    async def _resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker
    ) -> HubAnswer[ResolvedModel]:
        digest = credential.digest if credential else None
        question = self._question(digest, asker, str(ref))

        async def ask() -> ResolvedModel:
            try:
                model = await self._within_limits(digest, self._hub.resolve, ref, credential)
            except RouterError as error:
                self._note_refusal(error, digest, ref.repo_id, self._public.named(ref))
                _refund_silence(error, question)
                raise
            self._note_acceptance(digest, question)
            self._public.note(ref, model)
            for name in (str(ref), model.repo_id):
                self._seen[digest, name] = True
            return model

        within = self._patience(self._public.named(ref))
        return await self._resolutions.get(
            (digest, ref), ask, question, within=within, fresh=asker.fresh
        )

    async def _entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker
    ) -> HubAnswer[None]:
        digest = credential.digest if credential else None
        question = self._question(digest, asker, model.repo_id)
        key = (digest, model.repo_id, model.commit)

        async def ask() -> None:
            try:
                await self._within_limits(digest, self._hub.entitle, model, credential)
            except RouterError as error:
                self._note_refusal(error, digest, model.repo_id, model)
                _refund_silence(error, question)
                raise
            self._note_acceptance(digest, question)
            self._note_entitlement(key)

        return await self._entitlements.get(
            key, ask, question, within=self._patience(model), fresh=asker.fresh
        )

    def _question(self, digest: Digest, asker: Asker, name: str) -> Question | None:
        """The charge for a request about this name; None if it is free. Models in use are free,
        so that other callers can't use up the budget for them."""
        seen = (digest, name) in self._seen
        if asker.reserved or (asker.loaded and seen):
            return None
        window = digest if digest in self.accepted else None
        caller = asker.caller or ("" if digest is None else _UNPROVEN)
        return self._budget.question(window, caller, KNOWN if seen else UNKNOWN)

    def _patience(self, model: ResolvedModel | None) -> float | None:
        """Seconds to wait for the Hub: bounded if the model can be served without it."""
        public = model is not None and model.repo_id in self._public
        return self._public_patience if public else None

    async def _within_limits(
        self, digest: Digest, call: Callable[P, Awaitable[V]], *args: P.args, **kwargs: P.kwargs
    ) -> V:
        """Call the Hub unless it currently limits this token. Other tokens are not affected."""
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
        if keys and not len(keys) % _MANY:  # rarely: all may be valid
            keys = {other for other in keys if other in self._entitlements}
        keys.add(key)
        # Insert it again, so that the set lives as long as its newest entitlement.
        self._entitlements_of[key[0]] = keys

    def _note_acceptance(self, digest: Digest, question: Question | None) -> None:
        """A token identifies its caller only after the Hub accepted it. The Hub counted this
        first request in the token's own window, so the charge is refunded."""
        if digest is None:
            return
        if digest not in self.accepted and question is not None:
            question.refund()
        self.accepted[digest] = True

    def _note_refusal(
        self, error: RouterError, digest: Digest, repo_id: str, model: ResolvedModel | None
    ) -> None:
        """Drop this token's entitlements to the model, or all if the Hub refused the token.
        End the grace of a model that is not public; a token may not find all that is."""
        if not isinstance(error, AccessError):
            return
        names = {repo_id.casefold(), model.repo_id.casefold() if model else ""}
        bad_token = isinstance(error, InvalidHfToken)
        if bad_token and digest is not None:
            self.accepted.pop(digest, None)
        entitlements = self._entitlements_of.get(digest, set())  # once: it may expire
        for key in tuple(entitlements):
            if bad_token or key[1].casefold() in names:
                self._entitlements.discard(key)
                entitlements.discard(key)
        unfound = digest is not None and isinstance(error, ModelNotFound)
        hidden = not unfound and isinstance(error, ModelNotFound | ModelGated | ModelDisabled)
        if model and hidden:
            self._public.forget(model.repo_id)


def _refund_silence(error: RouterError, question: Question | None) -> None:
    """The Hub did not count a request that it did not answer."""
    if isinstance(error, HubUnavailable) and question is not None:
        question.refund()
