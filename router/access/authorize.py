"""Decides whether a caller may use a model, and at which commit.

Every request passes here first. Before it is admitted, nothing is queued, downloaded or
evicted for it, and nothing is said about the model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cachetools import LRUCache

from router.access.credentials import ChosenToken, Credentials
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

RECHECK = 60.0  # seconds after which a grant is checked again
_MAX_NAMES = 4096  # unpinned names whose commit is remembered

# Returns the commits of a repository that engines run now.
Running = Callable[[str], set[str]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A model that the caller may use now."""

    model: ResolvedModel
    operator: OperatorModel | None
    download_credential: Token | None  # None: download anonymously


@dataclass(slots=True)
class _Grant:
    """An operator's model as it is served to callers without a token."""

    model: ResolvedModel
    checked_at: float
    check: asyncio.Task[None] | None = None


class Admission:
    """Admits requests: by the operator's rules, then by the Hub's answer."""

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
        # The commit to which an unpinned name was last resolved for an engine. A commit that
        # only pinned requests named is never in here: otherwise a pull request's commit
        # could become the meaning of the plain name.
        self._chosen: LRUCache[str, ResolvedModel] = LRUCache(_MAX_NAMES)

    async def admit(self, name: str | None, caller: Token | None) -> Admitted:
        """Admit a request of `caller` for the model `name`, or for the default model.

        Raises:
            InvalidRequest, InvalidModelId  there is no such name
            AccessError                     the caller may not use the model
            HubUnavailable                  the Hub can't be asked now
        """
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
                # A former name of an operator's model: its entry says which revision.
                return await self.admit(str(canonical), caller)
            if not self._allowed.allow(canonical):
                raise _not_allowed(ref)
            if self._credentials.choose(caller, None, canonical) != choice:
                # The name now leads to a repository that this token is not meant for.
                return await self.admit(str(canonical), caller)
        model = await self._entitled(ref, model, choice.token)
        return Admitted(model, operator, choice.token)

    async def renew(self, admitted: Admitted, caller: Token | None) -> None:
        """Check again, for a request that has waited. Raises what `admit` raises."""
        operator = admitted.operator
        if operator is not None:
            choice = self._credentials.choose(caller, operator, operator.ref)
            if choice.granted:
                if operator.ref is not None:
                    await self._granted(operator.ref, choice)
                return
        await self._hub.entitle(admitted.model, admitted.download_credential)

    async def entitled(self, model: ResolvedModel, caller: Token | None) -> bool:
        """Whether the caller may use a loaded model, and so may see it in a list."""
        ref = ModelRef(model.repo_id)
        try:
            await self._hub.entitle(model, self._credentials.choose(caller, None, ref).token)
        except (AccessError, HubUnavailable):
            return False
        return True

    def invalidate(self) -> None:
        """Check every grant again at its next use. Called after the worker was frozen."""
        for grant in self._grants.values():
            grant.checked_at = float("-inf")

    async def close(self) -> None:
        """Cancel running checks of grants and wait for them."""
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
        """Entitle the caller at the commit that `ref` stands for, and return that commit.

        An unpinned name stays on the commit of its engine for as long as that engine runs.
        """
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

    async def _granted(self, ref: ModelRef, choice: ChosenToken) -> ResolvedModel:
        """An operator's model, for a caller without a token.

        The grant is checked in the background. Only a refusal by the Hub withdraws it; it
        stays if the Hub does not answer.
        """
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

    async def _recheck(self, ref: ModelRef, grant: _Grant, choice: ChosenToken) -> None:
        try:
            grant.model = await self._ask(ref, choice)
        except HubUnavailable:
            _log.warning("the Hub can't be asked about %s; it is still served", ref)
        except RouterError as refusal:
            _log.error(
                "%s is no longer served to callers without a token: %s", ref, refusal.message
            )
            self._grants.pop(ref, None)
        finally:
            grant.checked_at, grant.check = self._clock(), None

    async def _ask(self, ref: ModelRef, choice: ChosenToken) -> ResolvedModel:
        model = await self._hub.resolve(ref, choice.token)
        return await self._entitled(ref, model, choice.token)


def _not_allowed(ref: ModelRef) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"{ref} is not among the models that this worker may serve (ALLOWED_MODELS)."
    )
