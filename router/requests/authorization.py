"""Authorizes a request: determines its model, its engine, and its prefix cache namespace."""

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

_MOST_SPECS = 1024  # each is recreated in a few microseconds


class Authorized(NamedTuple):
    """What the caller may use. The request counts against the limits of `caller`."""

    spec: EngineSpec
    admitted: Admitted
    salt: Salt  # the caller's namespace in the prefix cache
    caller: str


class Sender(NamedTuple):
    """Identifies the caller by its API key (`key`), and holds its own Hub token (`token`)."""

    key: str
    token: Token | None


class Authorizer:
    """Authorizes requests.

    `flags` go to every engine. `salt` is a secret of this process; each caller's prefix cache
    namespace is derived from it.
    """

    def __init__(
        self, settings: Settings, admission: Admission, flags: tuple[str, ...], salt: bytes
    ) -> None:
        self._settings, self._admission = settings, admission
        self._flags, self._salt = flags, salt
        # Keyed by the identity of the model, which lives as long as its entry.
        self._specs: dict[int, tuple[ResolvedModel, OperatorModel | None, EngineSpec]] = {}

    @staticmethod
    def sender(key: str, hf_token: str | None, call: Call) -> Sender:
        """`hf_token` comes from the transport. Raises `InvalidHfToken`."""
        return Sender(key, caller_token(hf_token, call.hf_token))

    def recall(self, call: Call, sender: Sender, record: Record) -> Authorized | None:
        """Like `ask`, but without waiting: None unless the caller was admitted recently."""
        admitted = self._admission.recall(call.model, sender.token, sender.key)
        return None if admitted is None else self._authorize(admitted, call, sender, record)

    async def ask(self, call: Call, sender: Sender, record: Record) -> Authorized:
        """Authorize a request. Raises `RouterError`.

        Nothing is started, queued or revealed about the model before this returns. It writes
        the model and the caller to `record`.
        """
        admitted = await self._admission.admit(call.model, sender.token, sender.key)
        return self._authorize(admitted, call, sender, record)

    async def renew(self, authorized: Authorized, sender: Sender) -> None:
        """Check again after a wait. Raises `RouterError` if the request lost its rights."""
        await self._admission.renew(authorized.admitted, sender.token, sender.key)

    def spec(self, admitted: Admitted) -> EngineSpec:
        """The engine spec: the same object for a model while the admission caches it."""
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
        """A prefix cache namespace for this caller that reveals nothing about the caller.

        `own` is the caller's own salt. It divides the namespace further, so that a service with
        one key can separate its users.
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
