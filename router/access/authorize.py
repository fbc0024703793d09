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
from router.hub.interfaces import CachingHub, HubAnswer
from router.models import ModelRef, ResolvedModel
from router.secrets import Token

_log = logging.getLogger(__name__)

RECHECK = 60.0  # seconds after which a grant is checked again
_MAX_NAMES = 4096  # unpinned names with a remembered commit
_MAX_DECISIONS = 16_384  # that are remembered

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

    answer: HubAnswer[ResolvedModel]  # to be checked again once it has ended
    check: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Decision:
    """A model that a caller may use until one of the Hub's `answers` ends.

    It holds no caller's token: such a token is in memory no longer than its request.
    """

    model: ResolvedModel
    operator: OperatorModel | None
    answers: tuple[HubAnswer[ResolvedModel] | HubAnswer[None], ...] = ()
    newest: str | None = None  # the commit that an unpinned name has on the Hub
    with_callers_token: bool = False
    own_token: Token | None = None  # the worker's, where the caller has none

    def admit(self, caller: Token | None) -> Admitted:
        token = caller if self.with_callers_token else self.own_token
        return Admitted(self.model, self.operator, token)


class Admission:
    """Admits requests: by the operator's rules, then by the Hub's answer."""

    def __init__(
        self,
        hub: CachingHub,
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
        # By the name as written and the digest of the caller's token.
        self._decisions: LRUCache[tuple[str | None, str | None], _Decision] = LRUCache(
            _MAX_DECISIONS
        )

    async def admit(self, name: str | None, caller: Token | None) -> Admitted:
        """Admit a request of `caller` for the model `name`, or for the default model.

        Raises:
            InvalidRequest, InvalidModelId  there is no such name
            AccessError                     the caller may not use the model
            HubUnavailable                  the Hub can't be asked now
        """
        key = (name, None if caller is None else caller.digest)
        decision = self._decisions.get(key)
        if decision is None or not self._holds(decision):
            decision = await self._decide(name, caller)
            if self._holds(decision):
                self._decisions[key] = decision
        return decision.admit(caller)

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
            grant.answer.end()

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

    def _holds(self, decision: _Decision) -> bool:
        """Whether `_decide` would decide the same again, without a question to the Hub."""
        now = self._clock()
        if not all(now < answer.until for answer in decision.answers):
            return False
        if decision.newest is None:
            return True
        # An unpinned name: see `_entitled`.
        repo_id, commit = decision.model.repo_id, decision.model.commit
        chosen = self._chosen.get(repo_id)
        if chosen is None or chosen.commit != commit:
            return False
        return commit == decision.newest or commit in self._running(repo_id)

    async def _decide(self, name: str | None, caller: Token | None) -> _Decision:
        """Apply the operator's rules, and ask the Hub."""
        operator, ref = self._look_up(name)
        if operator is not None and (local := operator.local()) is not None:
            return _Decision(local, operator)
        assert ref is not None, "only a local directory has no reference"  # noqa: S101
        if operator is None and not self._allowed.allow(ref):
            raise _not_allowed(ref)
        choice = self._credentials.choose(caller, operator, ref)
        if choice.granted:
            grant = await self._granted(ref, choice)
            return _Decision(grant.value, operator, (grant,), own_token=choice.token)
        resolution = await self._hub.resolve(ref, choice.token)
        canonical = ModelRef(resolution.value.repo_id, ref.revision)
        if operator is None and canonical != ref:
            if self._catalog.match(canonical) is not None:
                # A former name of an operator's model: its entry says which revision.
                return await self._decide_anew(canonical, caller, resolution)
            if not self._allowed.allow(canonical):
                raise _not_allowed(ref)
            if self._credentials.choose(caller, None, canonical) != choice:
                # The name now leads to a repository that this token is not meant for.
                return await self._decide_anew(canonical, caller, resolution)
        model, entitlement = await self._entitled(ref, resolution.value, choice.token)
        return _Decision(
            model,
            operator,
            (resolution, entitlement),
            newest=None if ref.revision else resolution.value.commit,
            with_callers_token=caller is not None,
            own_token=None if caller is not None else choice.token,
        )

    async def _decide_anew(
        self, canonical: ModelRef, caller: Token | None, resolution: HubAnswer[ResolvedModel]
    ) -> _Decision:
        """Decide about the repository to which, by `resolution`, a former name leads."""
        decision = await self._decide(str(canonical), caller)
        return replace(decision, answers=(resolution, *decision.answers))

    async def _entitled(
        self, ref: ModelRef, model: ResolvedModel, credential: Token | None
    ) -> tuple[ResolvedModel, HubAnswer[None]]:
        """Entitle the caller at the commit that `ref` stands for, and return that commit.

        An unpinned name stays on the commit of its engine for as long as that engine runs.
        """
        if ref.revision is not None:
            return model, await self._hub.entitle(model, credential)
        chosen = self._chosen.get(model.repo_id)
        if chosen is not None and chosen.commit in self._running(model.repo_id):
            kept = replace(chosen, access=model.access)
            with suppress(AccessError):
                return kept, await self._hub.entitle(kept, credential)
        entitlement = await self._hub.entitle(model, credential)
        self._chosen[model.repo_id] = model
        return model, entitlement

    async def _granted(self, ref: ModelRef, choice: ChosenToken) -> HubAnswer[ResolvedModel]:
        """An operator's model, for a caller without a token.

        The grant is checked in the background. Only a refusal by the Hub withdraws it; it
        stays if the Hub does not answer.
        """
        grant = self._grants.get(ref)
        if grant is None:
            model = await self._ask(ref, choice)
            grant = self._grants[ref] = _Grant(HubAnswer(model, self._clock() + RECHECK))
        elif grant.check is None and self._clock() >= grant.answer.until:
            grant.check = asyncio.get_running_loop().create_task(
                self._recheck(ref, grant, choice)
            )
        return grant.answer

    async def _recheck(self, ref: ModelRef, grant: _Grant, choice: ChosenToken) -> None:
        model = grant.answer.value
        try:
            model = await self._ask(ref, choice)
        except HubUnavailable:
            _log.warning("the Hub can't be asked about %s; it is still served", ref)
        except RouterError as refusal:
            _log.error(
                "%s is no longer served to callers without a token: %s", ref, refusal.message
            )
            self._grants.pop(ref, None)
        finally:
            grant.answer, grant.check = HubAnswer(model, self._clock() + RECHECK), None

    async def _ask(self, ref: ModelRef, choice: ChosenToken) -> ResolvedModel:
        resolution = await self._hub.resolve(ref, choice.token)
        model, _ = await self._entitled(ref, resolution.value, choice.token)
        return model


def _not_allowed(ref: ModelRef) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"{ref} is not among the models that this worker may serve (ALLOWED_MODELS)."
    )
