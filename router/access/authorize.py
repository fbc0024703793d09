"""Decides whether a caller may use a model, and at which commit.

Every request passes here first. Until it is admitted, the router queues, downloads and evicts
nothing for it, and tells the caller nothing about the model.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from router.access.commits import Commits, Running
from router.access.credentials import Credentials
from router.access.decision import Admitted, Decision
from router.access.grants import PATIENCE, Grants
from router.access.keyring import Keyring
from router.clock import Clock
from router.config.caller_keys import KeyModels
from router.config.catalog import Catalog, OperatorModel
from router.config.patterns import Patterns
from router.errors import (
    AccessError,
    FitError,
    InvalidRequest,
    ModelNotAllowed,
    RetryLater,
)
from router.hub.interfaces import Asker, CachingHub, HubAnswer
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

_MAX_DECISIONS = 16_384  # remembered at a time


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
        keys: Keyring | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`patience`: the most seconds that a request waits for the check of a grant."""
        self._hub, self._catalog, self._credentials = hub, catalog, credentials
        self._allowed, self._running, self._clock = allowed, running, clock
        self._keys = keys or Keyring()
        self._commits = Commits(hub, running)
        self._grants = Grants(self._commits.ask, clock, patience)
        # Counts of requests: admitted by a remembered decision, and all others.
        self.remembered = self.decided = 0
        # By the name as written and the digest of the caller's token, the latest used last.
        self._decisions: OrderedDict[tuple[str | None, str | None], Decision] = OrderedDict()

    def caller(self, key: str, token: Token | None) -> str:
        """The caller whose limits a request counts against.

        That is the API key's caller (`key`), else the token's digest, but only once the Hub
        has accepted the token: anybody can invent tokens, and each would be a new caller.
        "" stands for all other callers together.
        """
        if key or token is None or token.digest not in self._hub.accepted:
            return key
        return token.digest

    async def admit(self, name: str | None, caller: Token | None, key: str = "") -> Admitted:
        """Admit a request of `caller` for the model `name`, or for the default model.

        `key` names the caller's API key. Raises:
            InvalidRequest, InvalidModelId  the name is missing or malformed
            InvalidApiKey                   the key was revoked meanwhile
            AccessError                     the caller may not use the model
            RateLimited                     the caller caused too many questions to the Hub
            HubUnavailable                  the Hub can't be asked now
        """
        known = self.recall(name, caller, key)
        if known is not None:
            return known
        self.decided += 1
        configured = self._credentials
        decision = await self._decide(name, caller, key)
        if self._credentials is not configured:  # the operator's models have changed
            return await self.admit(name, caller, key)
        if self._holds(decision):
            self._remember(name, caller, decision)
        return self._admitted(decision, name, caller, self._keys.models(key))

    def recall(self, name: str | None, caller: Token | None, key: str = "") -> Admitted | None:
        """Like `admit`, but only by a remembered decision that still holds; else None."""
        models = self._keys.models(key)
        if models is not None and not models.allow(*self._look_up(name)):
            raise _not_for_key()
        named = _named(name, caller)
        decision = self._decisions.get(named)
        if decision is None or not self._holds(decision):
            return None
        self._decisions.move_to_end(named)
        self.remembered += 1
        return self._admitted(decision, name, caller, models)

    async def renew(self, admitted: Admitted, caller: Token | None, key: str = "") -> None:
        """Check again a request that has waited. Raises what `admit` raises.

        The length of the queue limits how often this asks the Hub.
        """
        self._keys.models(key)  # raises if the key was revoked
        operator = admitted.operator
        if operator is not None:
            choice = self._credentials.choose(caller, operator, operator.ref)
            if choice.granted:
                if operator.ref is not None:
                    await self._grants.get(operator.ref, choice)
                return
        asker = Asker(reserved=True)
        await self._hub.entitle(admitted.model, admitted.download_credential, asker)

    async def entitled(self, model: ResolvedModel, caller: Token | None, key: str = "") -> bool:
        """Whether the caller may use a loaded model, and therefore see it in a list."""
        models = self._keys.models(key)
        if models is not None and not models.allow(None, ModelRef(model.repo_id)):
            return False
        token = self._credentials.choose(caller, None, ModelRef(model.repo_id)).token
        if token is None and model.access is not Access.PUBLIC:
            return False  # the Hub need not be asked
        asker = self._asker(self.caller(key, caller), caller, None, loaded=True)
        try:
            await self._hub.entitle(model, token, asker)
        except (AccessError, FitError, RetryLater):
            return False
        return True

    def permits(self, operator: OperatorModel, key: str) -> bool:
        """Whether the caller's API key allows this model of the operator."""
        models = self._keys.models(key)
        return models is None or models.allow(operator, operator.ref)

    def configure(self, credentials: Credentials) -> None:
        """Switch to new credentials and to the catalog's current models."""
        self._credentials = credentials
        self._decisions.clear()
        self._grants.invalidate()

    def invalidate(self) -> None:
        """Check every grant again before its next use. Call it after the worker was frozen."""
        self._grants.invalidate()

    async def close(self) -> None:
        """Cancel running checks of grants and wait for them."""
        await self._grants.close()

    def _look_up(self, name: str | None) -> tuple[OperatorModel | None, ModelRef | None]:
        if name is None:
            if self._catalog.default is None:
                raise InvalidRequest(
                    "Name a model in `model`, such as `org/name`: this worker has no default."
                )
            return self._catalog.default, self._catalog.default.ref
        operator = self._catalog.lookup(name)
        return operator, ModelRef.parse(name) if operator is None else operator.ref

    def _holds(self, decision: Decision) -> bool:
        """Whether `_decide` would decide the same now, without asking the Hub."""
        now = self._clock()
        for answer in decision.answers:  # faster than a generator; each request runs this
            if now >= answer.until:
                return False
        newest = decision.newest
        return newest is None or self._commits.keeps(decision.model, newest)

    def _remember(self, name: str | None, caller: Token | None, decision: Decision) -> None:
        self._decisions[_named(name, caller)] = decision
        if len(self._decisions) > _MAX_DECISIONS:
            self._decisions.popitem(last=False)

    @staticmethod
    def _admitted(
        decision: Decision, name: str | None, caller: Token | None, models: KeyModels | None
    ) -> Admitted:
        if models is not None and not models.allow(decision.operator, _asked(name, decision)):
            raise _not_for_key()  # a former name of another repository
        token = caller if decision.with_callers_token else decision.own_token
        return Admitted(decision.model, decision.operator, token)

    async def _decide(self, name: str | None, caller: Token | None, key: str) -> Decision:
        """Apply the operator's rules and ask the Hub."""
        operator, ref = self._look_up(name)
        if operator is not None and (local := operator.local()) is not None:
            return Decision(local, operator)
        assert ref is not None, "only a local directory has no reference"  # noqa: S101
        if operator is None and not self._allowed.allow(ref):
            raise _not_allowed(ref)
        choice = self._credentials.choose(caller, operator, ref)
        if choice.granted:
            grant = await self._grants.get(ref, choice)
            return Decision(grant.value, operator, (grant,), own_token=choice.token)
        who = self.caller(key, caller)
        running = self._running(ref.repo_id)
        loaded = bool(running) and ref.revision in (None, *running)
        asker = self._asker(who, caller, operator, loaded=loaded)
        resolution = await self._hub.resolve(ref, choice.token, asker)
        canonical = ModelRef(resolution.value.repo_id, ref.revision)
        if operator is None and canonical != ref:
            if self._catalog.match(canonical) is not None:
                # A former name of an operator's model, whose entry sets the revision.
                return await self._decide_anew(canonical, caller, key, resolution)
            if not self._allowed.allow(canonical):
                raise _not_allowed(ref)
            if self._credentials.choose(caller, None, canonical) != choice:
                # The name is a former name of a repository that needs another token.
                return await self._decide_anew(canonical, caller, key, resolution)
        model, entitlement = await self._commits.entitle(
            ref, resolution.value, choice.token, asker
        )
        return Decision(
            model,
            operator,
            (resolution, entitlement),
            newest=None if ref.revision else resolution.value.commit,
            with_callers_token=caller is not None,
            own_token=None if caller is not None else choice.token,
        )

    async def _decide_anew(
        self,
        canonical: ModelRef,
        caller: Token | None,
        key: str,
        resolution: HubAnswer[ResolvedModel],
    ) -> Decision:
        """Decide about the repository that a former name now points to, by `resolution`."""
        decision = await self._decide(str(canonical), caller, key)
        return replace(decision, answers=(resolution, *decision.answers))

    def _asker(
        self, caller: str, token: Token | None, operator: OperatorModel | None, *, loaded: bool
    ) -> Asker:
        proven = token is None or token.digest in self._hub.accepted
        return Asker(caller, reserved=operator is not None and proven, loaded=loaded)


def _named(name: str | None, caller: Token | None) -> tuple[str | None, str | None]:
    return name, None if caller is None else caller.digest


def _not_allowed(ref: ModelRef) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"{ref} is not among the models that this worker may serve (ALLOWED_MODELS)."
    )


def _asked(name: str | None, decision: Decision) -> ModelRef:
    """The repository of the decision, at the revision that the caller asked for."""
    revision = ModelRef.parse(name).revision if name and decision.operator is None else None
    return ModelRef(decision.model.repo_id, revision)


def _not_for_key() -> ModelNotAllowed:
    return ModelNotAllowed(
        "This API key is not for that model: `/v1/models` lists yours, and the operator of "
        "this worker decides."
    )
