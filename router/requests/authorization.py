"""What a request may have: the model and its engine, and its part of the prefix cache."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from router.access.authorize import Admission
from router.access.decision import Admitted
from router.config.catalog import OperatorModel, engine_spec
from router.config.settings import Settings
from router.errors import RouteNotFound
from router.models import EngineSpec, ResolvedModel
from router.requests.call import Call, Salt, caller_token
from router.requests.fitting import check_fits, check_served
from router.requests.record import Record
from router.secrets import Token

_MOST_SPECS = 1024  # that are remembered; each is made anew in some microseconds


class Authorized(NamedTuple):
    """What the caller may have. The request counts against the limits of `caller`."""

    spec: EngineSpec
    admitted: Admitted
    salt: Salt  # names the caller's part of the prefix cache
    caller: str


class Sender(NamedTuple):
    """Whose request it is: `key` names the caller's API key, `token` is the caller's own."""

    key: str
    token: Token | None


class Authorizer:
    """`flags` go to every engine. `salt` is a secret of this process, from which each caller's
    prefix cache gets a name of its own."""

    def __init__(
        self, settings: Settings, admission: Admission, flags: tuple[str, ...], salt: bytes
    ) -> None:
        self._settings, self._admission = settings, admission
        self._flags, self._salt = flags, salt
        # By the identity of the model, which lives as long as its entry.
        self._specs: dict[int, tuple[ResolvedModel, OperatorModel | None, EngineSpec]] = {}

    @staticmethod
    def sender(key: str, hf_token: str | None, call: Call) -> Sender:
        """`hf_token`: the transport's. Raises `InvalidHfToken`."""
        return Sender(key, caller_token(hf_token, call.hf_token))

    def recall(self, call: Call, sender: Sender, record: Record) -> Authorized | None:
        """As `ask`, where the caller was admitted lately, and without waiting; else None."""
        admitted = self._admission.recall(call.model, sender.token, sender.key)
        return None if admitted is None else self._authorize(admitted, call, sender, record)

    async def ask(self, call: Call, sender: Sender, record: Record) -> Authorized:
        """Nothing has been started, queued or said of the model before this ends. `record`
        hears which model it is, and who may use it."""
        admitted = await self._admission.admit(call.model, sender.token, sender.key)
        return self._authorize(admitted, call, sender, record)

    async def renew(self, authorized: Authorized, sender: Sender) -> None:
        """Check again, for a request that has waited. Raises where its rights have ended."""
        await self._admission.renew(authorized.admitted, sender.token, sender.key)

    def spec(self, admitted: Admitted) -> EngineSpec:
        """The same object for the same model, as long as the admission remembers that."""
        known = self._specs.get(id(admitted.model))
        if known is not None and known[0] is admitted.model and known[1] is admitted.operator:
            return known[2]
        spec = engine_spec(admitted.model, admitted.operator, self._settings, self._flags)
        if len(self._specs) >= _MOST_SPECS:
            self._specs.clear()
        self._specs[id(admitted.model)] = admitted.model, admitted.operator, spec
        return spec

    def _authorize(
        self, admitted: Admitted, call: Call, sender: Sender, record: Record
    ) -> Authorized:
        spec = self.spec(admitted)
        caller = self._admission.caller(sender.key, sender.token)
        record.authorized(spec.model.repo_id, caller)
        check_served(spec.model)
        check_fits(call.route, spec)
        if self._settings.strict_cache_isolation and call.route.shares_cache_of(
            spec.model.task
        ):
            raise _switched_off(call.route.path)
        return Authorized(spec, admitted, self._salt_of(sender, call.cache_salt), caller)

    def _salt_of(self, sender: Sender, own: Salt) -> Salt:
        """A name for this caller's part of the prefix cache, which tells nothing of the caller.

        `own` is the caller's own salt: it divides that part further, so that a service
        with one key can keep its users apart.
        """
        if isinstance(own, list):
            return [str(self._salt_of(sender, one)) for one in own]
        key, token = sender
        if not key and token is None and own is None:
            return None
        named = f"{key} {token.digest if token else ''} {own or ''}"
        return blake2b(named.encode(), key=self._salt, digest_size=16).hexdigest()


def _switched_off(path: str) -> RouteNotFound:
    return RouteNotFound(
        f"{path} is switched off here for generation models (STRICT_CACHE_ISOLATION): SGLang "
        "can't keep callers' prompts apart there. Use /v1/chat/completions."
    )
