"""Which token asks the Hub on behalf of a request. Pure: nothing is asked here.

caller's token    always that token, for the operator's models too; never another
operator's model  its own `token_env`, else HF_TOKEN, else none; granted
any other model   HF_TOKEN where HF_TOKEN_MODELS covers it, else none
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.config.catalog import Catalog, OperatorModel
from router.config.environ import SettingsError, as_token
from router.config.patterns import Patterns
from router.config.settings import Platform, Settings
from router.models import ModelRef
from router.secrets import Token

_ALL, _NONE = Patterns(("*",)), Patterns(())


class Source(StrEnum):
    """Whose token it is, for the log and for the words of a refusal."""

    CALLER = "caller"
    MODEL = "token_env"
    WORKER = "HF_TOKEN"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to ask the Hub with. `granted`: only an explicit refusal by the Hub withdraws
    the model from this caller, never silence.
    """

    token: Token | None
    source: Source
    granted: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """The worker's own tokens, and the models that each of them may serve."""

    worker: Token | None
    worker_models: Patterns  # beyond the operator's
    of_models: Mapping[str, Token]  # by the name of their variable
    reason: str

    @classmethod
    def read(
        cls, settings: Settings, catalog: Catalog, environ: Mapping[str, str]
    ) -> Credentials:
        """Look up each `token_env`. Raises `SettingsError` where one is unset or malformed:
        the worker's HF_TOKEN is no stand-in for a token that was meant to be narrower.
        """
        patterns, reason = _worker_models(settings)
        return cls(
            worker=settings.hf_token,
            worker_models=patterns,
            of_models={
                name: _token(name, environ)
                for name in {model.token_env for model in catalog.models}
                if name is not None
            },
            reason=reason,
        )

    def choose(
        self, caller: Token | None, operator: OperatorModel | None, ref: ModelRef | None
    ) -> Choice:
        """The token for one request; `ref` is None for the operator's local directory.

        Ask again with the canonical id once that is known: a repository that was renamed
        may have left, or entered, what HF_TOKEN is for.
        """
        if ref is None:
            # The Hub has no say in a directory, so no token does either.
            return Choice(None, Source.ANONYMOUS, granted=True)
        if caller is not None:
            return Choice(caller, Source.CALLER)
        if operator is not None and operator.token_env is not None:
            return Choice(self.of_models[operator.token_env], Source.MODEL, granted=True)
        granted = operator is not None
        if self.worker is not None and (granted or self.worker_models.cover(ref.repo_id)):
            return Choice(self.worker, Source.WORKER, granted)
        return Choice(None, Source.ANONYMOUS, granted)

    def explain(self) -> str:
        """One line for the log at start-up."""
        if self.worker is None:
            return "HF_TOKEN is not set: without a token of their own callers use public models"
        named = {"*": "all models", "none": "only the operator's models"}
        models = named.get(str(self.worker_models), f"the operator's and {self.worker_models}")
        return f"HF_TOKEN serves {models}: {self.reason}"

    @property
    def secrets(self) -> tuple[Token, ...]:
        """The tokens of `token_env`, for redaction; the others are in the settings."""
        return tuple(self.of_models.values())


def _worker_models(settings: Settings) -> tuple[Patterns, str]:
    if settings.hf_token_models is not None:
        return settings.hf_token_models, "HF_TOKEN_MODELS says so"
    if settings.platform is not Platform.PLAIN:
        return _ALL, f"{settings.platform} authenticates callers"
    if settings.api_keys:
        return _ALL, "callers need one of API_KEYS"
    if _is_loopback(settings.host):
        return _ALL, f"only this machine can call {settings.host}"
    return _NONE, f"anyone can call {settings.host} (set API_KEYS or HF_TOKEN_MODELS)"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(name: str, environ: Mapping[str, str]) -> Token:
    text = environ.get(name, "").strip()
    if not text:
        raise SettingsError(name, "", "set: a model's `token_env` names it")
    try:
        return as_token(text)
    except ValueError as error:
        raise SettingsError(name, "***", str(error)) from None
