"""The three models on the demo's Hub, and the accounts of the callers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.contents import Files
from tests.tiny_models import answer


@dataclass(frozen=True, slots=True)
class Model:
    repo_id: str

    @property
    def name(self) -> str:
        return self.repo_id.partition("/")[2]

    @property
    def says(self) -> str:
        return answer(self.name)


APPLE = Model("alice/apple")
BANANA = Model("alice/banana")
CHERRY = Model("bob/cherry")
MISSING = Model("bob/durian")  # does not exist
MODELS = (APPLE, BANANA, CHERRY)


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Callers:
    """`carol` accepted alice's terms, `bob` did not, and `mallory`'s token is invalid."""

    bob: Caller
    carol: Caller
    mallory: Caller
    nobody: Caller = Caller("nobody")


def open_accounts(hub: LoopbackHub, files: Mapping[str, Files]) -> Callers:
    """Upload the models and open the accounts. `files` maps a model's name to its files."""
    hub.add_repo(APPLE.repo_id, files[APPLE.name])
    hub.add_repo(BANANA.repo_id, files[BANANA.name], gated="auto")
    hub.add_repo(CHERRY.repo_id, files[CHERRY.name], private=True)
    bob, carol = (Caller(name, hub.add_account(name)) for name in ("bob", "carol"))
    hub.accept(BANANA.repo_id, carol.name)
    return Callers(bob, carol, Caller("mallory", "hf_" + secrets.token_hex(17)))


def describe_models() -> str:
    return "\n".join(
        f"  {model.repo_id:<13} {what}"
        for model, what in (
            (APPLE, "public"),
            (BANANA, "gated: carol has accepted alice's terms, bob has not"),
            (CHERRY, "private: only bob has access"),
        )
    )
