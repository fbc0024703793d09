"""Decides whether a caller may use a model, and at which commit.

Every request passes here first. Before it is admitted, nothing is queued, downloaded or
evicted for it, and nothing is said about the model.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from router.access.commits import Commits, Running
from router.access.credentials import Credentials
from router.access.decision import Admitted, Decision
from router.access.grants import Grants
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

_MAX_DECISIONS = 16_384  # that are remembered


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
    ) -> None:
        self._hub, self._catalog, self._credentials = hub, catalog, credentials
        self._allowed, self._running, self._clock = allowed, running, clock
        self._keys = keys or Keyring()
        self._commits = Commits(hub, running)
        self._grants = Grants(self._commits.ask, clock)
        # Requests that were admitted by what is remembered, and all others.
        self.remembered = self.decided = 0
        # By the name as written and the digest of the caller's token, the latest used last.
        self._decisions: OrderedDict[tuple[str | None, str | None], Decision] = OrderedDict()

    def caller(self, key: str, token: Token | None) -> str:
        """Whose limits a request counts against: those of its API key (`key` names it), else
        of its token, but only once the Hub has accepted that; "": those of all the others.

        Anybody can invent tokens: they must not be as many callers.
        """
        if key or token is None or token.digest not in self._hub.accepted:
            return key
        return token.digest

    async def admit(self, name: str | None, caller: Token | None, key: str = "") -> Admitted:
        """Admit a request of `caller` for the model `name`, or for the default model.

        `key` names the caller's API key. Raises:
            InvalidRequest, InvalidModelId  there is no such name
            InvalidApiKey                   its key was revoked meanwhile
            AccessError                     the caller may not use the model
            RateLimited                     the caller has had the Hub asked too much
            HubUnavailable                  the Hub can't be asked now
        """
        known = self.recall(name, caller, key)
        if known is not None:
            return known
        self.decided += 1
        configured = self._credentials
        decision = await self._decide(name, caller, key)
        if self._credentials is not configured:  # the operator's models are others now
            return await self.admit(name, caller, key)
        if self._holds(decision):
            self._remember(name, caller, decision)
        return self._admitted(decision, name, caller, self._keys.models(key))

    def recall(self, name: str | None, caller: Token | None, key: str = "") -> Admitted | None:
        """As `admit`, for what was decided lately and still holds; None: it was not."""
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
        """Check again, for a request that has waited. Raises what `admit` raises.

        The places in the queue limit how much the Hub is asked for these.
        """
        self._keys.models(key)  # raises where the key was revoked
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
        """Whether the caller may use a loaded model, and so may see it in a list."""
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
        """Whether a caller's key is for this model of the operator's."""
        models = self._keys.models(key)
        return models is None or models.allow(operator, operator.ref)

    def configure(self, credentials: Credentials) -> None:
        """Decide by the catalog as it is now, and by other tokens of the operator's."""
        self._credentials = credentials
        self._decisions.clear()
        self._grants.invalidate()

    def invalidate(self) -> None:
        """Check every grant before its next use. Called after the worker was frozen."""
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
        """Whether `_decide` would decide the same again, without a question to the Hub."""
        now = self._clock()
        for answer in decision.answers:  # no generator: each request asks
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
        """Apply the operator's rules, and ask the Hub."""
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
                # A former name of an operator's model: its entry says which revision.
                return await self._decide_anew(canonical, caller, key, resolution)
            if not self._allowed.allow(canonical):
                raise _not_allowed(ref)
            if self._credentials.choose(caller, None, canonical) != choice:
                # The name now leads to a repository that this token is not meant for.
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
        """Decide about the repository to which, by `resolution`, a former name leads."""
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
    """The repository that was decided about, at the revision that was asked for."""
    revision = ModelRef.parse(name).revision if name and decision.operator is None else None
    return ModelRef(decision.model.repo_id, revision)


def _not_for_key() -> ModelNotAllowed:
    return ModelNotAllowed(
        "This API key is not for that model: `/v1/models` lists yours, and the operator of "
        "this worker decides."
    )
