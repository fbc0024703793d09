"""May this caller use this model, and at which commit? Asked first, for every request.

Nothing is queued, downloaded, evicted or said before the answer is yes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cachetools import LRUCache

from router.access.credentials import Choice, Credentials
from router.clock import Clock
from router.config.catalog import Catalog, OperatorModel
from router.config.patterns import Patterns
from router.errors import (
    AccessError,
    HubUnavailable,
    InvalidRequest,
    ModelNotAllowed,
    RouterError,
)
from router.hub.interfaces import Hub
from router.models import ModelRef, ResolvedModel
from router.secrets import Token

_log = logging.getLogger(__name__)

RECHECK = 60.0  # seconds for which a grant is not asked about again
_MOST_NAMES = 4096  # unpinned names whose commit is remembered

# The commits of a repository that engines run at; to be asked, not kept.
Running = Callable[[str], set[str]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A model that this caller may use now, and the credential that may pay for it."""

    model: ResolvedModel
    operator: OperatorModel | None
    payer: Token | None


@dataclass(slots=True)
class _Grant:
    model: ResolvedModel
    checked_at: float
    check: asyncio.Task[None] | None = None


class Admission:
    def __init__(
        self,
        hub: Hub,
        *,
        catalog: Catalog,
        credentials: Credentials,
        allowed: Patterns,
        running: Running,
        clock: Clock,
    ) -> None:
        self._hub, self._catalog, self._credentials = hub, catalog, credentials
        self._allowed, self._running, self._clock = allowed, running, clock
        self._grants: dict[ModelRef, _Grant] = {}
        # The commit that an unpinned name stood for when an engine was last chosen for
        # it. A commit that only a pinned request brought up is not one of these: a pull
        # request's must not become what the plain name means.
        self._chosen: LRUCache[str, ResolvedModel] = LRUCache(_MOST_NAMES)

    async def admit(self, name: str | None, caller: Token | None) -> Admitted:
        """Raise `AccessError`, `InvalidModelId` or `HubUnavailable`, or let the caller in."""
        operator, ref = self._look_up(name)
        if operator is not None and (local := operator.local()) is not None:
            return Admitted(local, operator, None)
        assert ref is not None, "only a local directory has no reference"  # noqa: S101
        if operator is None and not self._allowed.allow(ref):
            raise _not_allowed(ref)
        choice = self._credentials.choose(caller, operator, ref)
        if choice.granted:
            return Admitted(await self._granted(ref, choice), operator, choice.token)
        model = await self._hub.resolve(ref, choice.token)
        canonical = ModelRef(model.repo_id, ref.revision)
        if operator is None and canonical != ref:
            if self._catalog.match(canonical) is not None:
                # Asked under a former name: the operator's entry says which revision.
                return await self.admit(str(canonical), caller)
            if not self._allowed.allow(canonical):
                raise _not_allowed(ref)
            if self._credentials.choose(caller, None, canonical) != choice:
                # The token that was used is not meant for what the name stands for now.
                return await self.admit(str(canonical), caller)
        model = await self._entitled(ref, model, choice.token)
        return Admitted(model, operator, choice.token)

    async def renew(self, admitted: Admitted, caller: Token | None) -> None:
        """Whether it still holds, of a request that has waited. Raises like `admit`."""
        operator = admitted.operator
        if operator is not None:
            choice = self._credentials.choose(caller, operator, operator.ref)
            if choice.granted:
                if operator.ref is not None:
                    await self._granted(operator.ref, choice)
                return
        await self._hub.entitle(admitted.model, admitted.payer)

    async def entitled(self, model: ResolvedModel, caller: Token | None) -> bool:
        """Whether the caller may use, and so may see, a model that is loaded."""
        ref = ModelRef(model.repo_id)
        try:
            await self._hub.entitle(model, self._credentials.choose(caller, None, ref).token)
        except (AccessError, HubUnavailable):
            return False
        return True

    def forget(self) -> None:
        """Have the Hub asked about every grant again: after a thaw."""
        for grant in self._grants.values():
            grant.checked_at = float("-inf")

    async def close(self) -> None:
        checks = [grant.check for grant in self._grants.values() if grant.check]
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    def _look_up(self, name: str | None) -> tuple[OperatorModel | None, ModelRef | None]:
        if name is None:
            if self._catalog.default is None:
                raise InvalidRequest(
                    "Name a model in `model`, such as `org/name`: this worker has no default."
                )
            return self._catalog.default, self._catalog.default.ref
        operator = self._catalog.lookup(name)
        return operator, ModelRef.parse(name) if operator is None else operator.ref

    async def _entitled(
        self, ref: ModelRef, model: ResolvedModel, credential: Token | None
    ) -> ResolvedModel:
        """Entitle at the commit that this name is to mean: an unpinned one stays on the
        commit of its engine until that is gone."""
        if ref.revision is not None:
            await self._hub.entitle(model, credential)
            return model
        chosen = self._chosen.get(model.repo_id)
        if chosen is not None and chosen.commit in self._running(model.repo_id):
            kept = replace(chosen, access=model.access)
            with suppress(AccessError):
                await self._hub.entitle(kept, credential)
                return kept
        await self._hub.entitle(model, credential)
        self._chosen[model.repo_id] = model
        return model

    # --- grants ------------------------------------------------------------------

    async def _granted(self, ref: ModelRef, choice: Choice) -> ResolvedModel:
        """An operator's model, for a caller without a token: the Hub is asked in the
        background, and only its refusal withdraws the grant, never its silence."""
        grant = self._grants.get(ref)
        if grant is None:
            model = await self._ask(ref, choice)
            self._grants[ref] = _Grant(model, self._clock())
            return model
        if grant.check is None and self._clock() - grant.checked_at >= RECHECK:
            grant.check = asyncio.get_running_loop().create_task(
                self._recheck(ref, grant, choice)
            )
        return grant.model

    async def _recheck(self, ref: ModelRef, grant: _Grant, choice: Choice) -> None:
        try:
            grant.model = await self._ask(ref, choice)
        except HubUnavailable:
            _log.warning("the Hub can't be asked about %s; it stays granted", ref)
        except RouterError as refusal:
            _log.error("%s is withdrawn: %s", ref, refusal.message)
            self._grants.pop(ref, None)
        finally:
            grant.checked_at, grant.check = self._clock(), None

    async def _ask(self, ref: ModelRef, choice: Choice) -> ResolvedModel:
        model = await self._hub.resolve(ref, choice.token)
        return await self._entitled(ref, model, choice.token)


def _not_allowed(ref: ModelRef) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"{ref} is not among the models that this worker may serve (ALLOWED_MODELS)."
    )
