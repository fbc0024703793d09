"""What is remembered of a recently admitted caller, and what ends it.

The Hub is a fake behind the router's real cache. "Warm" means admitted without asking either of
them.
"""

from __future__ import annotations

import asyncio
import gc
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
    InvalidHfToken,
    ModelGated,
    ModelNotAllowed,
    ModelNotFound,
)
from router.hub import singleflight
from router.hub.cache import CachedHub
from router.hub.interfaces import ANYBODY, Asker, HubAnswer
from router.hub.singleflight import ANSWER_TTL, REFUSAL_TTL, UNAVAILABLE_TTL
from router.models import ModelRef, ResolvedModel
from router.secrets import Token
from tests.doubles import FakeHub
from tests.pool.fakes import FakeClock, settle

NEW, OLD = "1" * 40, "2" * 40


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


class WatchedHub(CachedHub):
    """Counts all questions, including those answered from the cache."""

    questions = 0

    async def resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[ResolvedModel]:
        self.questions += 1
        return await super().resolve(ref, credential, asker)

    async def entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[None]:
        self.questions += 1
        return await super().entitle(model, credential, asker)


class Entrance:
    """An admission on a cached Hub."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.hub, self.clock = FakeHub(), FakeClock()
        self.cached = WatchedHub(self.hub, self.clock, random=lambda: 1.0)
        self.running: set[str] = set()
        settings = Settings.from_environ(environ or {})
        models = catalog(settings)
        self.admission = Admission(
            self.cached,
            catalog=models,
            credentials=Credentials.read(settings, models, environ or {}),
            allowed=settings.allowed_models,
            running=lambda _: self.running,
            clock=self.clock,
            patience=60.0,
        )

    async def admit(self, name: str | None, caller: Token | None = None) -> Admitted:
        return await self.admission.admit(name, caller)

    async def is_warm(self, name: str | None, caller: Token | None = None) -> bool:
        """Whether a request gets in without a question."""
        before = self.cached.questions
        await self.admit(name, caller)
        return self.cached.questions == before

    def thaw(self) -> None:
        self.cached.invalidate()
        self.admission.invalidate()


@pytest.mark.parametrize("name", ["org/model", "org/model@main", f"org/model@{NEW}"])
@pytest.mark.parametrize("anonymous", [True, False])
async def test_a_second_request_is_admitted_as_the_first_was_without_a_question(
    name: str, anonymous: bool
) -> None:
    entrance, caller = Entrance(), None if anonymous else token()
    entrance.hub.add("org/model", commit=NEW)
    first = await entrance.admit(name, caller)
    assert await entrance.is_warm(name, caller)
    assert await entrance.admit(name, caller) == first


async def test_it_is_given_its_own_token_to_download_with() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    await entrance.admit("org/private", owner)
    again = Token(owner.reveal())
    assert (await entrance.admit("org/private", again)).download_credential is again


async def test_a_callers_token_is_forgotten_with_its_request() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    await entrance.admit("org/private", owner)
    assert await entrance.is_warm("org/private", owner)
    await settle()
    assert owner not in reachable(entrance.admission)


def reachable(start: object) -> list[Token]:
    """The tokens reachable by references from `start`, except through code."""
    seen, tokens, found = {id(start)}, [start], list[Token]()
    while tokens:
        for thing in gc.get_referents(tokens.pop()):
            if id(thing) in seen or isinstance(thing, type) or hasattr(thing, "__globals__"):
                continue
            seen.add(id(thing))
            tokens.append(thing)
            if isinstance(thing, Token):
                found.append(thing)
    return found


async def test_one_callers_admission_is_not_anothers() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    await entrance.admit("org/private", owner)
    for stranger in (token(), None):
        with pytest.raises(ModelNotFound):
            await entrance.admit("org/private", stranger)


async def test_an_anonymous_callers_admission_is_not_that_of_a_token() -> None:
    entrance, bad = Entrance(), token()
    entrance.hub.add("org/public")
    entrance.hub.bad_tokens.add(bad.digest)
    await entrance.admit("org/public")
    with pytest.raises(InvalidHfToken):
        await entrance.admit("org/public", bad)


async def test_it_ends_after_a_minute() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/model")
    await entrance.admit("org/model", owner)
    entrance.hub.add("org/model", token())  # private now
    entrance.clock.advance(ANSWER_TTL - 0.1)
    assert await entrance.is_warm("org/model", owner)
    entrance.clock.advance(0.1)
    with pytest.raises(ModelNotFound):
        await entrance.admit("org/model", owner)


async def test_a_warm_request_makes_nothing_last_longer() -> None:
    entrance = Entrance()
    entrance.hub.add("org/model")
    await entrance.cached.resolve(ModelRef("org/model"), None)
    entrance.clock.advance(ANSWER_TTL / 2)
    await entrance.admit("org/model")
    entrance.clock.advance(ANSWER_TTL / 2)
    assert not await entrance.is_warm("org/model")  # the meaning of the name is asked again


async def test_a_token_that_is_refused_for_one_model_is_admitted_to_none() -> None:
    entrance, owner, other = Entrance(), token(), token()
    entrance.hub.add("org/private", owner, other)
    for caller in (owner, other):
        await entrance.admit("org/private", caller)
    entrance.hub.bad_tokens.add(owner.digest)
    for name in ("org/another", "org/private"):
        with pytest.raises(InvalidHfToken):
            await entrance.admit(name, owner)
    assert await entrance.is_warm("org/private", other)


async def test_the_workers_token_that_is_refused_admits_nobody() -> None:
    workers = token()
    entrance = Entrance({"HF_TOKEN": workers.reveal(), "HF_TOKEN_MODELS": "*"})
    entrance.hub.add("org/private", workers)
    assert (await entrance.admit("org/private")).download_credential == workers
    assert await entrance.is_warm("org/private")
    entrance.hub.bad_tokens.add(workers.digest)
    for name in ("org/another", "org/private"):
        with pytest.raises(InvalidHfToken):
            await entrance.admit(name)


async def test_a_caller_that_is_refused_by_one_name_is_not_admitted_by_another() -> None:
    entrance, guest = Entrance(), token()
    entrance.hub.add("org/private", guest)
    await entrance.admit("org/private", guest)
    entrance.hub.add("org/private", token())
    for name in ("org/private@main", "org/private"):
        with pytest.raises(ModelNotFound):
            await entrance.admit(name, guest)


async def test_a_thaw_ends_it() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    await entrance.admit("org/private", owner)
    entrance.hub.add("org/private", token())
    entrance.thaw()
    with pytest.raises(ModelNotFound):
        await entrance.admit("org/private", owner)


async def test_an_answer_from_before_a_thaw_is_not_remembered_after_it() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    entrance.hub.pause.clear()
    asking = asyncio.create_task(entrance.admit("org/private", owner))
    await settle()
    entrance.thaw()
    entrance.hub.pause.set()
    await asking
    assert not await entrance.is_warm("org/private", owner)


async def test_an_answer_that_the_cache_had_no_space_for_does_not_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(singleflight, "MAX_ENTRIES", 2)
    entrance, owner = Entrance(), token()
    for name in ("org/private", "org/b", "org/c"):
        entrance.hub.add(name, owner)
    await entrance.admit("org/private", owner)
    assert await entrance.is_warm("org/private", owner)
    for name in ("org/b", "org/c"):
        await entrance.admit(name, owner)
    assert not await entrance.is_warm("org/private", owner)


async def test_what_is_served_without_the_hub_is_asked_for_again() -> None:
    entrance = Entrance()
    entrance.hub.add("org/model")
    await entrance.cached.resolve(ModelRef("org/model"), None)
    entrance.clock.advance(ANSWER_TTL / 2)
    await entrance.admit("org/model")
    entrance.clock.advance(ANSWER_TTL / 2)
    await refused_once_the_hub_is_back(entrance, "org/model")  # the name has expired


async def test_a_right_that_stands_without_the_hub_is_asked_for_again() -> None:
    entrance = Entrance()
    entrance.hub.add("org/model")
    await entrance.admit("org/model")
    entrance.clock.advance(ANSWER_TTL / 2)
    await entrance.admit("org/model@main")
    entrance.clock.advance(ANSWER_TTL / 2)
    await refused_once_the_hub_is_back(entrance, "org/model@main")  # the right has expired


async def refused_once_the_hub_is_back(entrance: Entrance, name: str) -> None:
    entrance.hub.down = True
    await entrance.admit(name)
    entrance.hub.down = False
    entrance.hub.add("org/model", token())
    entrance.clock.advance(UNAVAILABLE_TTL)
    with pytest.raises(ModelNotFound):
        await entrance.admit(name)


async def test_without_the_hub_an_admission_holds_for_its_minute_and_no_longer() -> None:
    entrance, owner = Entrance(), token()
    entrance.hub.add("org/private", owner)
    await entrance.admit("org/private", owner)
    entrance.hub.down = True
    entrance.clock.advance(ANSWER_TTL - 0.1)
    assert await entrance.is_warm("org/private", owner)
    entrance.clock.advance(0.1)
    with pytest.raises(HubUnavailable):
        await entrance.admit("org/private", owner)


async def test_a_name_that_leads_to_a_model_that_is_not_allowed_ends_with_its_minute() -> None:
    entrance = Entrance({"ALLOWED_MODELS": "org/*"})
    entrance.hub.add("org/model")
    entrance.hub.add("other/model")
    await entrance.admit("org/model")
    entrance.hub.rename("org/model", "other/model")
    entrance.clock.advance(ANSWER_TTL)
    for _ in range(2):
        with pytest.raises(ModelNotAllowed):
            await entrance.admit("org/model")


async def test_a_former_name_stands_on_where_it_leads() -> None:
    entrance, caller = Entrance({"MODELS_CONFIG": "[{model: org/new}]"}), token()
    entrance.hub.add("org/new")
    entrance.hub.add("org/elsewhere", token(), gated=True)
    entrance.hub.rename("org/old", "org/new")
    new = entrance.hub.repos.pop("org/new")
    with pytest.raises(ModelNotFound):
        await entrance.admit("org/old", caller)
    entrance.hub.repos["org/new"] = new
    entrance.clock.advance(REFUSAL_TTL)
    await entrance.admit("org/old", caller)
    assert await entrance.is_warm("org/old", caller)
    await entrance.admit("org/new", caller)
    entrance.hub.rename("org/old", "org/elsewhere")
    entrance.clock.advance(ANSWER_TTL - REFUSAL_TTL)
    assert await entrance.is_warm("org/new", caller)
    with pytest.raises(ModelGated):
        await entrance.admit("org/old", caller)


class TestCommit:
    """The commit of a warm request: that of the engine, while one runs."""

    async def test_it_stays_the_engines_while_that_runs(self) -> None:
        entrance = await self.with_an_old_engine()
        assert await entrance.is_warm("org/model")
        assert (await entrance.admit("org/model")).model.commit == OLD

    async def test_it_is_the_newest_once_the_engine_is_gone(self) -> None:
        entrance = await self.with_an_old_engine()
        entrance.running = set()
        assert (await entrance.admit("org/model")).model.commit == NEW
        assert await entrance.is_warm("org/model")

    async def test_it_is_what_another_caller_has_had_chosen_since(self) -> None:
        entrance, late = await self.with_an_old_engine(), token()
        entrance.running = set()
        assert (await entrance.admit("org/model", late)).model.commit == NEW
        entrance.running = {OLD, NEW}
        assert (await entrance.admit("org/model")).model.commit == NEW

    async def test_a_pin_is_not_the_plain_name(self) -> None:
        entrance = await self.with_an_old_engine()
        for _ in range(2):
            assert (await entrance.admit(f"org/model@{OLD}")).model.commit == OLD
            assert (await entrance.admit("org/model@main")).model.commit == NEW

    async def with_an_old_engine(self) -> Entrance:
        entrance = Entrance()
        entrance.hub.add("org/model", commit=OLD)
        await entrance.admit("org/model")
        entrance.running = {OLD}
        entrance.hub.add("org/model", commit=NEW)
        entrance.clock.advance(ANSWER_TTL)
        assert (await entrance.admit("org/model")).model.commit == OLD
        return entrance


class TestGrants:
    """The operator's models, for callers without a token."""

    async def granted(self) -> tuple[Entrance, Token]:
        workers = token()
        entrance = Entrance({"HF_TOKEN": workers.reveal(), "MODEL_NAME": "org/mine"})
        entrance.hub.add("org/mine", workers)
        assert (await entrance.admit(None)).download_credential == workers
        return entrance, workers

    async def test_a_grant_is_warm_with_the_workers_token(self) -> None:
        entrance, workers = await self.granted()
        assert await entrance.is_warm(None)
        assert (await entrance.admit(None)).download_credential == workers

    async def test_a_grant_is_none_for_a_caller_with_a_token(self) -> None:
        entrance, _ = await self.granted()
        with pytest.raises(ModelNotFound):
            await entrance.admit(None, token())

    async def test_it_is_checked_when_due_and_ends_when_it_is_withdrawn(self) -> None:
        entrance, _ = await self.granted()
        entrance.hub.add("org/mine", token())
        entrance.clock.advance(RECHECK)
        for _ in range(2):
            with pytest.raises(ModelNotFound):
                await entrance.admit(None)

    async def test_it_is_checked_after_a_thaw(self) -> None:
        entrance, _ = await self.granted()
        entrance.hub.add("org/mine", token())
        entrance.thaw()
        with pytest.raises(ModelNotFound):
            await entrance.admit(None)

    async def test_it_is_warm_again_once_it_was_checked(self) -> None:
        entrance, _ = await self.granted()
        entrance.clock.advance(RECHECK)
        await entrance.admit(None)
        await settle()
        assert await entrance.is_warm(None)

    async def test_a_directory_has_no_token_to_download_with(self) -> None:
        entrance = Entrance({"MODEL_NAME": "/models/mine"})
        for _ in range(2):
            assert (await entrance.admit(None, token())).download_credential is None
