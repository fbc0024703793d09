from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

import pytest

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.access.decision import Admitted
from router.access.grants import RECHECK
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.errors import (
    HubUnavailable,
    InvalidModelId,
    InvalidRequest,
    ModelGated,
    ModelNotAllowed,
    ModelNotFound,
    UnsupportedModel,
)
from router.models import Access, ResolvedModel
from router.secrets import Token
from tests.doubles import FakeHub, UncachedHub
from tests.pool.fakes import FakeClock, settle

NEW, OLD = "1" * 40, "2" * 40


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


class Harness:
    """An admission, and the requests that it sends to the Hub."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.hub, self.clock = FakeHub(), FakeClock()
        self.running: set[str] = set()
        settings = Settings.from_environ(environ or {})
        self.models = models = catalog(settings)
        self.admission = Admission(
            UncachedHub(self.hub),
            catalog=models,
            credentials=Credentials.read(settings, models, environ or {}),
            allowed=settings.allowed_models,
            running=lambda _: self.running,
            clock=self.clock,
        )

    async def admit(self, name: str | None, caller: Token | None = None) -> Admitted:
        return await self.admission.admit(name, caller)

    def reconfigure(self, environ: Mapping[str, str]) -> None:
        """From now on, use other models of the operator."""
        settings = Settings.from_environ(environ)
        self.models.become(catalog(settings))
        self.admission.configure(Credentials.read(settings, self.models, environ))

    def askers(self) -> set[str]:
        return {digest for _, _, digest in self.hub.asked}


async def test_a_public_model_is_for_everybody() -> None:
    harness = Harness()
    model = harness.hub.add("org/public")
    assert (await harness.admit("org/public")).model == model
    assert (await harness.admit("org/public", token())).model == model


async def test_access_to_a_private_model_is_checked_at_each_request() -> None:
    harness, owner, other = Harness(), token(), token()
    harness.hub.add("org/private", owner)
    for _ in range(2):
        assert (await harness.admit("org/private", owner)).download_credential == owner
        for stranger in (other, None):
            with pytest.raises(ModelNotFound):
                await harness.admit("org/private", stranger)


async def test_a_gated_model_resolves_for_all_but_needs_acceptance() -> None:
    harness, accepted = Harness(), token()
    harness.hub.add("org/gated", accepted, gated=True)
    await harness.admit("org/gated", accepted)
    with pytest.raises(ModelGated):
        await harness.admit("org/gated", token())


async def test_a_refused_token_never_falls_back_to_the_workers() -> None:
    workers = token()
    harness = Harness({"HF_TOKEN": workers.reveal()})
    harness.hub.add("org/private", workers)
    await harness.admit("org/private")
    harness.hub.asked.clear()
    with pytest.raises(ModelNotFound):
        await harness.admit("org/private", caller := token())
    assert harness.askers() == {caller.digest}


async def test_without_a_default_a_request_must_name_a_model() -> None:
    with pytest.raises(InvalidRequest, match="org/name"):
        await Harness().admit(None)


async def test_a_path_is_not_a_name() -> None:
    with pytest.raises(InvalidModelId):
        await Harness().admit("/etc/passwd")


async def test_a_directory_of_the_operators_needs_no_hub() -> None:
    harness = Harness({"MODEL_NAME": "/models/mine", "SERVED_MODEL_NAME": "mine"})
    harness.hub.down = True
    for name in (None, "mine"):
        assert (await harness.admit(name, token())).model.access is Access.LOCAL
    assert not harness.hub.asked


async def test_a_model_that_is_not_allowed_is_refused_before_the_hub_is_asked() -> None:
    harness = Harness({"ALLOWED_MODELS": "org/*"})
    with pytest.raises(ModelNotAllowed):
        await harness.admit("other/model")
    with pytest.raises(ModelNotAllowed):
        await harness.admit("org/model@refs/pr/1")
    assert not harness.hub.asked


async def test_an_allowed_name_that_leads_to_a_disallowed_model_is_refused() -> None:
    harness = Harness({"ALLOWED_MODELS": "org/*"})
    harness.hub.add("other/new-home")
    harness.hub.rename("org/old", "other/new-home")
    with pytest.raises(ModelNotAllowed):
        await harness.admit("org/old")


async def test_a_former_name_does_not_get_a_token_that_is_not_meant_for_the_new_one() -> None:
    workers = token()
    harness = Harness({"HF_TOKEN": workers.reveal(), "HF_TOKEN_MODELS": "org/*"})
    harness.hub.add("other/secret", workers)
    harness.hub.rename("org/old", "other/secret")
    with pytest.raises(ModelNotFound):
        await harness.admit("org/old")


async def test_a_former_name_of_an_operators_model_means_the_operators_revision() -> None:
    config = f"[{{model: org/new, revision: '{OLD}', trust_remote_code: true}}]"
    harness = Harness({"MODELS_CONFIG": config})
    harness.hub.add("org/new", commit=OLD)
    harness.hub.add("org/new", commit=NEW)
    harness.hub.rename("org/old", "org/new")
    for caller in (None, token()):
        admitted = await harness.admit("org/old", caller)
        assert admitted.operator is not None
        assert ("resolve", f"org/new@{OLD}") in [
            (q, about) for q, about, _ in harness.hub.asked
        ]
        harness.hub.asked.clear()
        harness.admission.invalidate()
        await settle()


async def test_what_the_operator_no_longer_names_gets_the_workers_token_no_more() -> None:
    workers = token()
    environ = {"HF_TOKEN": workers.reveal(), "HF_TOKEN_MODELS": "none"}
    harness = Harness({**environ, "MODEL_NAME": "org/private"})
    harness.hub.add("org/private", workers)
    await harness.admit("org/private")
    harness.reconfigure(environ)
    with pytest.raises(ModelNotFound):
        await harness.admit("org/private")
    harness.reconfigure({**environ, "MODEL_NAME": "org/private"})
    assert (await harness.admit(None)).download_credential == workers


async def test_a_decision_that_was_begun_for_former_models_is_made_again() -> None:
    workers = token()
    environ = {"HF_TOKEN": workers.reveal(), "HF_TOKEN_MODELS": "none"}
    harness = Harness({**environ, "MODEL_NAME": "org/private"})
    harness.hub.add("org/private", workers)
    harness.hub.pause.clear()
    begun = asyncio.ensure_future(harness.admit("org/private"))
    await settle()
    harness.reconfigure(environ)
    harness.hub.pause.set()
    with pytest.raises(ModelNotFound):
        await begun


async def test_an_unpinned_name_stays_on_the_commit_of_its_engine_while_it_runs() -> None:
    harness = Harness()
    harness.hub.add("org/model", commit=OLD)
    assert (await harness.admit("org/model")).model.commit == OLD
    harness.hub.add("org/model", commit=NEW)
    harness.running = {OLD}
    assert (await harness.admit("org/model")).model.commit == OLD
    assert (await harness.admit("org/model@main")).model.commit == NEW
    harness.running = set()
    assert (await harness.admit("org/model")).model.commit == NEW


async def test_a_commit_that_only_a_pinned_request_runs_is_not_what_the_name_means() -> None:
    harness = Harness()
    harness.hub.add("org/model", commit=OLD)
    await harness.admit(f"org/model@{OLD}")
    harness.hub.add("org/model", commit=NEW)
    harness.running = {OLD}
    assert (await harness.admit("org/model")).model.commit == NEW


async def test_a_commit_that_is_gone_from_the_hub_is_left_for_the_new_one() -> None:
    harness = Harness()
    harness.hub.add("org/model", commit=OLD)
    await harness.admit("org/model")
    harness.running = {OLD}
    del harness.hub.repos["org/model"]
    harness.hub.add("org/model", commit=NEW)
    assert (await harness.admit("org/model")).model.commit == NEW


async def test_a_model_that_has_become_unfit_is_left_out_of_a_list() -> None:
    harness = Harness()
    model = harness.hub.add("org/model")

    async def unfit(model: ResolvedModel, credential: Token | None) -> None:
        raise UnsupportedModel("no config.json")

    harness.hub.entitle = unfit  # type: ignore[method-assign]
    assert not await harness.admission.entitled(model, token())


async def test_only_an_accepted_token_names_its_caller() -> None:
    harness, owner, other = Harness(), token(), token()
    harness.hub.add("org/private", owner)
    with pytest.raises(ModelNotFound):
        await harness.admit("org/private", other)
    await harness.admit("org/private", owner)
    names = [harness.admission.caller("", one) for one in (owner, other, None)]
    assert names == [owner.digest, "", ""]
    assert harness.admission.caller("key", owner) == "key"


class TestGrants:
    """The operator's models, for callers without a token."""

    def harness(self) -> tuple[Harness, Token]:
        workers = token()
        harness = Harness({"HF_TOKEN": workers.reveal(), "MODEL_NAME": "org/mine"})
        harness.hub.add("org/mine", workers)
        return harness, workers

    async def test_they_are_served_with_the_workers_token(self) -> None:
        harness, workers = self.harness()
        assert (await harness.admit(None)).download_credential == workers

    async def test_a_caller_with_a_token_is_checked_with_that_token(self) -> None:
        harness, _ = self.harness()
        await harness.admit(None)
        with pytest.raises(ModelNotFound):
            await harness.admit("org/mine", token())

    async def test_a_silent_hub_does_not_withdraw_a_grant(self) -> None:
        harness, _ = self.harness()
        await harness.admit(None)
        harness.hub.down = True
        for _ in range(3):
            harness.clock.advance(RECHECK)
            await harness.admit(None)
            await settle()

    async def test_a_refusal_by_the_hub_withdraws_it(self) -> None:
        harness, _ = self.harness()
        await harness.admit(None)
        harness.hub.add("org/mine", token())
        harness.clock.advance(RECHECK)
        with pytest.raises(ModelNotFound):
            await harness.admit(None)

    async def test_the_hub_is_asked_once_a_minute_at_most(self) -> None:
        harness, _ = self.harness()
        await harness.admit(None)
        harness.hub.asked.clear()
        for _ in range(5):
            await harness.admit(None)
        harness.clock.advance(RECHECK)
        for _ in range(5):
            await harness.admit(None)
        await settle()
        assert [method for method, _, _ in harness.hub.asked] == ["resolve", "entitle"]

    async def test_without_the_hub_a_model_that_was_never_resolved_is_not_granted(self) -> None:
        harness, _ = self.harness()
        harness.hub.down = True
        with pytest.raises(HubUnavailable):
            await harness.admit(None)

    async def test_closing_cancels_a_running_check(self) -> None:
        harness, _ = self.harness()
        await harness.admit(None)
        harness.clock.advance(RECHECK)
        await harness.admit(None)
        await harness.admission.close()
