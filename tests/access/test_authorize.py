from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest

from router.access.authorize import RECHECK, Admission, Admitted
from router.access.credentials import Credentials
from router.config.models_file import catalog
from router.config.settings import Settings
from router.errors import (
    HubUnavailable,
    InvalidModelId,
    InvalidRequest,
    ModelGated,
    ModelNotAllowed,
    ModelNotFound,
)
from router.models import Access
from router.secrets import Token
from tests.doubles import FakeHub
from tests.pool.fakes import FakeClock, settle

NEW, OLD = "1" * 40, "2" * 40


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


class Door:
    """An admission, and the requests that it sends to the Hub."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.hub, self.clock = FakeHub(), FakeClock()
        self.running: set[str] = set()
        settings = Settings.from_environ(environ or {})
        models = catalog(settings)
        self.admission = Admission(
            self.hub,
            catalog=models,
            credentials=Credentials.read(settings, models, environ or {}),
            allowed=settings.allowed_models,
            running=lambda _: self.running,
            clock=self.clock,
        )

    async def admit(self, name: str | None, caller: Token | None = None) -> Admitted:
        return await self.admission.admit(name, caller)

    def askers(self) -> set[str]:
        return {digest for _, _, digest in self.hub.asked}


async def test_a_public_model_is_for_everybody() -> None:
    door = Door()
    model = door.hub.add("org/public")
    assert (await door.admit("org/public")).model == model
    assert (await door.admit("org/public", token())).model == model


async def test_access_to_a_private_model_is_checked_at_each_request() -> None:
    door, owner, other = Door(), token(), token()
    door.hub.add("org/private", owner)
    for _ in range(2):
        assert (await door.admit("org/private", owner)).download_credential == owner
        for stranger in (other, None):
            with pytest.raises(ModelNotFound):
                await door.admit("org/private", stranger)


async def test_a_gated_model_resolves_for_all_but_needs_acceptance() -> None:
    door, accepted = Door(), token()
    door.hub.add("org/gated", accepted, gated=True)
    await door.admit("org/gated", accepted)
    with pytest.raises(ModelGated):
        await door.admit("org/gated", token())


async def test_a_refused_token_never_falls_back_to_the_workers() -> None:
    workers = token()
    door = Door({"HF_TOKEN": workers.reveal()})
    door.hub.add("org/private", workers)
    await door.admit("org/private")
    door.hub.asked.clear()
    with pytest.raises(ModelNotFound):
        await door.admit("org/private", caller := token())
    assert door.askers() == {caller.digest}


async def test_without_a_default_a_request_must_name_a_model() -> None:
    with pytest.raises(InvalidRequest, match="org/name"):
        await Door().admit(None)


async def test_a_path_is_not_a_name() -> None:
    with pytest.raises(InvalidModelId):
        await Door().admit("/etc/passwd")


async def test_a_directory_of_the_operators_needs_no_hub() -> None:
    door = Door({"MODEL_NAME": "/models/mine", "SERVED_MODEL_NAME": "mine"})
    door.hub.down = True
    for name in (None, "mine"):
        assert (await door.admit(name, token())).model.access is Access.LOCAL
    assert not door.hub.asked


async def test_a_model_that_is_not_allowed_is_refused_before_the_hub_is_asked() -> None:
    door = Door({"ALLOWED_MODELS": "org/*"})
    with pytest.raises(ModelNotAllowed):
        await door.admit("other/model")
    with pytest.raises(ModelNotAllowed):
        await door.admit("org/model@refs/pr/1")
    assert not door.hub.asked


async def test_an_allowed_name_that_leads_to_a_disallowed_model_is_refused() -> None:
    door = Door({"ALLOWED_MODELS": "org/*"})
    door.hub.add("other/new-home")
    door.hub.rename("org/old", "other/new-home")
    with pytest.raises(ModelNotAllowed):
        await door.admit("org/old")


async def test_a_former_name_does_not_get_a_token_that_is_not_meant_for_the_new_one() -> None:
    workers = token()
    door = Door({"HF_TOKEN": workers.reveal(), "HF_TOKEN_MODELS": "org/*"})
    door.hub.add("other/secret", workers)
    door.hub.rename("org/old", "other/secret")
    with pytest.raises(ModelNotFound):
        await door.admit("org/old")


async def test_a_former_name_of_an_operators_model_means_the_operators_revision() -> None:
    config = f"[{{model: org/new, revision: '{OLD}', trust_remote_code: true}}]"
    door = Door({"MODELS_CONFIG": config})
    door.hub.add("org/new", commit=OLD)
    door.hub.add("org/new", commit=NEW)
    door.hub.rename("org/old", "org/new")
    for caller in (None, token()):
        admitted = await door.admit("org/old", caller)
        assert admitted.operator is not None
        assert ("resolve", f"org/new@{OLD}") in [(q, about) for q, about, _ in door.hub.asked]
        door.hub.asked.clear()
        door.admission.invalidate()
        await settle()


async def test_an_unpinned_name_stays_on_the_commit_of_its_engine_while_it_runs() -> None:
    door = Door()
    door.hub.add("org/model", commit=OLD)
    assert (await door.admit("org/model")).model.commit == OLD
    door.hub.add("org/model", commit=NEW)
    door.running = {OLD}
    assert (await door.admit("org/model")).model.commit == OLD
    assert (await door.admit("org/model@main")).model.commit == NEW
    door.running = set()
    assert (await door.admit("org/model")).model.commit == NEW


async def test_a_commit_that_only_a_pinned_request_runs_is_not_what_the_name_means() -> None:
    door = Door()
    door.hub.add("org/model", commit=OLD)
    await door.admit(f"org/model@{OLD}")
    door.hub.add("org/model", commit=NEW)
    door.running = {OLD}
    assert (await door.admit("org/model")).model.commit == NEW


async def test_a_commit_that_is_gone_from_the_hub_is_left_for_the_new_one() -> None:
    door = Door()
    door.hub.add("org/model", commit=OLD)
    await door.admit("org/model")
    door.running = {OLD}
    del door.hub.repos["org/model"]
    door.hub.add("org/model", commit=NEW)
    assert (await door.admit("org/model")).model.commit == NEW


class TestGrants:
    """The operator's models, for callers without a token."""

    def door(self) -> tuple[Door, Token]:
        workers = token()
        door = Door({"HF_TOKEN": workers.reveal(), "MODEL_NAME": "org/mine"})
        door.hub.add("org/mine", workers)
        return door, workers

    async def test_they_are_served_with_the_workers_token(self) -> None:
        door, workers = self.door()
        assert (await door.admit(None)).download_credential == workers

    async def test_a_caller_with_a_token_is_checked_with_that_token(self) -> None:
        door, _ = self.door()
        await door.admit(None)
        with pytest.raises(ModelNotFound):
            await door.admit("org/mine", token())

    async def test_a_silent_hub_does_not_withdraw_a_grant(self) -> None:
        door, _ = self.door()
        await door.admit(None)
        door.hub.down = True
        for _ in range(3):
            door.clock.advance(RECHECK)
            await door.admit(None)
            await settle()

    async def test_a_refusal_by_the_hub_withdraws_it(self) -> None:
        door, _ = self.door()
        await door.admit(None)
        door.hub.add("org/mine", token())
        door.clock.advance(RECHECK)
        await door.admit(None)  # starts a check in the background
        await settle()
        with pytest.raises(ModelNotFound):
            await door.admit(None)

    async def test_the_hub_is_asked_once_a_minute_at_most(self) -> None:
        door, _ = self.door()
        await door.admit(None)
        door.hub.asked.clear()
        for _ in range(5):
            await door.admit(None)
        door.clock.advance(RECHECK)
        for _ in range(5):
            await door.admit(None)
        await settle()
        assert [method for method, _, _ in door.hub.asked] == ["resolve", "entitle"]

    async def test_without_the_hub_a_model_that_was_never_resolved_is_not_granted(self) -> None:
        door, _ = self.door()
        door.hub.down = True
        with pytest.raises(HubUnavailable):
            await door.admit(None)

    async def test_closing_cancels_a_running_check(self) -> None:
        door, _ = self.door()
        await door.admit(None)
        door.clock.advance(RECHECK)
        await door.admit(None)
        await door.admission.close()
