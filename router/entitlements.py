"""The Hub's answers, remembered for as long as they may be believed.

What is shared between callers: nothing but what an anonymous caller was told, and that
among anonymous callers only. Who brings a token is always asked about with that token, so
that what one caller learns never depends on who came before.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from cachetools import TLRUCache, TTLCache

from router.core.models import Access, ModelRef, ResolvedModel
from router.core.ports import Clock, Credential, Hub
from router.errors import (
    AccessError,
    FitError,
    HubUnavailable,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RouterError,
)

ANSWER_TTL = 60.0  # seconds, for a yes
REFUSAL_TTL = 10.0  # for a no
UNAVAILABLE_TTL = 2.0  # so that callers do not queue up for a Hub that hangs
PUBLIC_GRACE = 24 * 3600.0  # a model last seen public is served so long without the Hub
MAX_ANSWERS = 16_384  # of each kind; the least recently used go first

_MANY = 1024  # entitlements of one token, before the expired ones are sorted out

Digest = str | None  # of the caller's token; None: anonymous
_Entitlement = tuple[Digest, str, str]  # canonical repository, commit
K = TypeVar("K")
V = TypeVar("V")


class CachedHub:
    """Implements the port `Hub` on top of another, within the design's invariants 0 and 1."""

    def __init__(self, hub: Hub, clock: Clock, *, public_grace: float = PUBLIC_GRACE) -> None:
        """`public_grace` is in seconds, like all that `clock` tells."""
        self._hub = hub
        self._resolutions: _Answers[tuple[Digest, ModelRef], ResolvedModel] = _Answers(clock)
        self._entitlements: _Answers[_Entitlement, None] = _Answers(clock)
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

    async def resolve(self, ref: ModelRef, credential: Credential | None) -> ResolvedModel:
        """Implements `Hub.resolve`."""
        digest = credential.digest if credential else None

        async def ask() -> ResolvedModel:
            try:
                model = await self._hub.resolve(ref, credential)
            except RouterError as error:
                self._note_refusal(error, digest, ref.repo_id, self._public_names.get(ref))
                raise
            self._note_access(ref, model)
            return model

        try:
            return await self._resolutions.get((digest, ref), ask)
        except HubUnavailable:
            model = self._public_names.get(ref)
            if model is None or model.repo_id not in self._public_repos:
                raise
            return model

    async def entitle(self, model: ResolvedModel, credential: Credential | None) -> None:
        """Implements `Hub.entitle`."""
        digest = credential.digest if credential else None

        async def ask() -> None:
            try:
                await self._hub.entitle(model, credential)
            except RouterError as error:
                self._note_refusal(error, digest, model.repo_id, model)
                raise
            self._hold((digest, model.repo_id, model.commit))

        try:
            await self._entitlements.get((digest, model.repo_id, model.commit), ask)
        except HubUnavailable:
            if model.repo_id not in self._public_repos:
                raise

    def forget(self) -> None:
        """Believe nothing from before now, not even what is being asked: after a thaw.

        What was last seen public stays: its grace is for the times when nobody can ask.
        """
        self._resolutions.clear()
        self._entitlements.clear()

    async def close(self) -> None:
        """Cancel what is being asked, and wait for it; its callers get `HubUnavailable`."""
        await self._resolutions.close()
        await self._entitlements.close()

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


class _Answers(Generic[K, V]):
    """Answers by question. Each question is being asked at most once at a time, by a task
    of its own, so that a caller who leaves takes nothing from those who wait with it."""

    def __init__(self, clock: Clock) -> None:
        self._known: TLRUCache[K, tuple[V] | RouterError] = TLRUCache(
            MAX_ANSWERS, ttu=_expiry, timer=clock
        )
        self._asking: dict[K, asyncio.Task[tuple[V] | RouterError]] = {}
        self._tasks: set[asyncio.Task[tuple[V] | RouterError]] = set()  # forgotten ones too

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer, remembered or fresh. Raises what `ask` raises, also remembered."""
        answer = self._known.get(key)
        if answer is None:
            answer = await self._ask(key, ask)
        if isinstance(answer, RouterError):
            # A copy: raising one instance over and over makes its traceback grow for ever.
            raise copy.copy(answer)
        return answer[0]

    def drop(self, key: K) -> None:
        self._known.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return key in self._known

    def clear(self) -> None:
        self._known.clear()
        self._asking.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> tuple[V] | RouterError:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(key, ask))
            self._asking[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task])  # unlike awaiting it, leaves it alone when cancelled
        if task.cancelled():
            return HubUnavailable("The worker is leaving: try again.")
        return task.result()

    async def _answer(self, key: K, ask: Callable[[], Awaitable[V]]) -> tuple[V] | RouterError:
        try:
            answer: tuple[V] | RouterError = (await ask(),)
        except RouterError as error:
            answer = error.with_traceback(None)
        finally:
            current = self._asking.get(key) is asyncio.current_task()
            if current:
                del self._asking[key]
        if current:  # not forgotten meanwhile
            self._known[key] = answer
        return answer


def _expiry(_: object, answer: tuple[object] | RouterError, now: float) -> float:
    match answer:
        case AccessError() | FitError():
            return now + REFUSAL_TTL
        case RouterError():
            return now + UNAVAILABLE_TTL
    return now + ANSWER_TTL
