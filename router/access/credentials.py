"""Chooses the token with which the router asks the Hub on behalf of a request.

A caller with a token     only that token, for the operator's models too
An operator's model       its own `token_env`, else HF_TOKEN, else none; granted
Any other model           HF_TOKEN if HF_TOKEN_MODELS covers it, else none
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.config.catalog import Catalog, OperatorModel
from router.config.errors import MistakesSoFar, SettingsError, SettingsMistakes
from router.config.hosts import Authority, is_loopback
from router.config.parsers import as_token
from router.config.patterns import Patterns
from router.config.settings import Platform, Settings
from router.models import ModelRef
from router.secrets import Token

_ALL, _NONE = Patterns(("*",)), Patterns(())


@dataclass(frozen=True, slots=True)
class ChosenToken:
    """The token to ask the Hub with."""

    token: Token | None
    granted: bool = False  # the model is still served if the Hub does not answer


@dataclass(frozen=True, slots=True)
class Credentials:
    """The worker's own tokens, and the models that each of them may serve."""

    worker: Token | None
    worker_models: Patterns  # served with HF_TOKEN, besides the operator's models
    of_models: Mapping[str, Token]  # by the names of their variables
    reason: str  # for the log: what set `worker_models`

    @classmethod
    def read(
        cls, settings: Settings, catalog: Catalog, environ: Mapping[str, str]
    ) -> Credentials:
        """Read the settings and, from the environment, each `token_env`.

        Raises `SettingsError` if a `token_env` is unset or malformed. HF_TOKEN must not
        replace it, because the operator chose a token with fewer rights.
        """
        patterns, reason = _worker_models(settings)
        return cls(
            worker=settings.hf_token,
            worker_models=patterns,
            of_models=_of_models(catalog, environ),
            reason=reason,
        )

    def choose(
        self, caller: Token | None, operator: OperatorModel | None, ref: ModelRef | None
    ) -> ChosenToken:
        """The token for one request. `ref` is None for the operator's local directory.

        Call it again with the canonical id once that is known: HF_TOKEN_MODELS may cover only
        the old or only the new name of a renamed repository.
        """
        if ref is None:
            # The Hub is not asked about a local directory.
            return ChosenToken(None, granted=True)
        if caller is not None:
            return ChosenToken(caller)
        if operator is not None and operator.token_env is not None:
            return ChosenToken(self.of_models[operator.token_env], granted=True)
        granted = operator is not None
        if self.worker is not None and (granted or self.worker_models.cover(ref.repo_id)):
            return ChosenToken(self.worker, granted=granted)
        return ChosenToken(None, granted=granted)

    def summary(self) -> str:
        """One line for the log at startup."""
        if self.worker is None:
            return (
                "HF_TOKEN is not set: callers need their own tokens, except for public models"
            )
        named = {"*": "all models", "none": "only the operator's models"}
        models = named.get(str(self.worker_models), f"the operator's and {self.worker_models}")
        return f"HF_TOKEN serves {models}: {self.reason}"

    @property
    def secrets(self) -> tuple[Token, ...]:
        """The tokens of all `token_env`, for redaction. HF_TOKEN is in the settings."""
        return tuple(self.of_models.values())


def _worker_models(settings: Settings) -> tuple[Patterns, str]:
    if settings.hf_token_models is not None:
        return settings.hf_token_models, "HF_TOKEN_MODELS says so"
    if settings.platform is not Platform.PLAIN:
        return _ALL, f"{settings.platform} authenticates callers"
    if settings.api_keys or settings.api_keys_file:
        setting = "API_KEYS" if settings.api_keys else "API_KEYS_FILE"
        return _ALL, f"callers need one of {setting}"
    if _listens_on_loopback(settings.host):
        return _ALL, f"only this machine can call {settings.host}"
    return _NONE, f"anyone can call {settings.host} (set API_KEYS or HF_TOKEN_MODELS)"


def _listens_on_loopback(host: str) -> bool:
    """Whether only this machine can call; `router.http.sites` then blocks foreign web pages."""
    address = Authority.read(f"[{host}]" if ":" in host else host)
    return address is not None and is_loopback(address.host)


def _of_models(catalog: Catalog, environ: Mapping[str, str]) -> dict[str, Token]:
    mistakes, found = MistakesSoFar(), dict[str, Token]()
    for model in catalog.models:
        if (name := model.token_env) is not None and name not in found:
            with mistakes.collecting():
                found[name] = _token(name, model.where, environ)
    mistakes.raise_any()
    return found


def _token(name: str, where: str, environ: Mapping[str, str]) -> Token:
    text = environ.get(name, "").strip()
    if not text:
        problem = f"`token_env` names the variable {name}, which is not set"
        raise SettingsMistakes([f"{where}: {problem}"])
    try:
        return as_token(text)
    except ValueError as error:
        raise SettingsError(name, "***", str(error)) from None
