"""A key limits the models, in addition to the rules for its caller's token."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.access.keyring import Keyring
from router.config.caller_keys import CallerKey, KeyModels, sha256_of
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.errors import InvalidApiKey, ModelNotAllowed
from tests.doubles import FakeHub, UncachedHub
from tests.pool.fakes import FakeClock

KEY, FREE = "narrow-key", "a-free-key"


class Admitting:
    """An admission that knows two keys: one for `models`, and one for all."""

    def __init__(self, *models: str, environ: Mapping[str, str] | None = None) -> None:
        self.hub = FakeHub()
        self.narrow = self.entry(*models)
        self.keys = Keyring([FREE], [self.narrow])
        settings = Settings.from_environ(environ or {})
        self.models = catalog(settings)
        self.admission = Admission(
            UncachedHub(self.hub),
            catalog=self.models,
            credentials=Credentials.read(settings, self.models, environ or {}),
            allowed=settings.allowed_models,
            running=lambda _: set(),
            clock=FakeClock(),
            keys=self.keys,
        )

    def entry(self, *models: str) -> CallerKey:
        return CallerKey(name="narrow", sha256=sha256_of(KEY), models=KeyModels.parse(models))

    async def admit(self, name: str | None, key: str = KEY) -> None:
        await self.admission.admit(name, None, self.keys.caller([key]))


async def test_a_key_opens_its_models_and_no_others() -> None:
    admitting = Admitting("acme/*")
    admitting.hub.add("acme/one")
    admitting.hub.add("other/one")
    await admitting.admit("acme/one")
    admitting.hub.asked.clear()
    for name in ("other/one", "other/missing", "acme/one@refs/pr/1"):
        with pytest.raises(ModelNotAllowed):
            await admitting.admit(name)
    assert not admitting.hub.asked
    await admitting.admit("other/one", FREE)


async def test_what_another_key_was_admitted_to_is_none_of_this_ones() -> None:
    admitting = Admitting("acme/*")
    admitting.hub.add("other/one")
    await admitting.admit("other/one", FREE)
    with pytest.raises(ModelNotAllowed):
        await admitting.admit("other/one")


async def test_a_former_name_does_not_lead_to_a_model_that_the_key_is_not_for() -> None:
    admitting = Admitting("acme/*")
    admitting.hub.add("other/new")
    admitting.hub.rename("acme/old", "other/new")
    for _ in range(2):
        with pytest.raises(ModelNotAllowed):
            await admitting.admit("acme/old")
    await admitting.admit("acme/old", FREE)


async def test_the_operators_models_are_no_exception() -> None:
    environ = {"MODELS_CONFIG": "[{model: acme/one, aliases: [mine]}, {model: acme/two}]"}
    admitting = Admitting("mine", environ=environ)
    admitting.hub.add("acme/one")
    admitting.hub.add("acme/two")
    await admitting.admit("mine")
    await admitting.admit("acme/one")
    with pytest.raises(ModelNotAllowed):
        await admitting.admit("acme/two")
    key = admitting.keys.caller([KEY])
    permitted = [admitting.admission.permits(one, key) for one in admitting.models.models]
    assert permitted == [True, False]


async def test_a_loaded_model_is_listed_for_the_keys_that_may_use_it() -> None:
    admitting = Admitting("acme/*")
    own, others = admitting.hub.add("acme/one"), admitting.hub.add("other/one")
    key, free = admitting.keys.caller([KEY]), admitting.keys.caller([FREE])
    asked = [(own, key), (others, key), (others, free)]
    shown = [await admitting.admission.entitled(model, None, who) for model, who in asked]
    assert shown == [True, False, True]


async def test_a_request_that_waits_ends_with_its_key() -> None:
    admitting = Admitting("acme/*")
    admitting.hub.add("acme/one")
    key = admitting.keys.caller([KEY])
    admitted = await admitting.admission.admit("acme/one", None, key)
    await admitting.admission.renew(admitted, None, key)
    admitting.keys.become(())
    with pytest.raises(InvalidApiKey):
        await admitting.admission.renew(admitted, None, key)
