"""The caller that a key belongs to, and the caller's rights."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial

import pytest

from router.access.keyring import Keyring
from router.config.caller_keys import CallerKey, KeyModels, sha256_of
from router.errors import InvalidApiKey, RateLimited
from router.scheduler.events import DIGEST_SHOWN
from tests.steps import calls_of, lines_of

KEY, OTHER = secrets.token_hex(16), secrets.token_hex(16)


def named(name: str, key: str = KEY, **more: object) -> CallerKey:
    return CallerKey(name=name, sha256=sha256_of(key), **more)  # type: ignore[arg-type]


def ring(*keys: CallerKey, plain: Sequence[str] = ()) -> Keyring:
    return Keyring(plain, keys)


def test_a_key_of_the_file_names_its_caller_without_showing_it() -> None:
    keys = ring(named("billing"), plain=[OTHER])
    caller = keys.caller([KEY])
    assert keys.name(caller) == "billing"
    assert caller == keys.caller(["wrong", KEY])
    assert sha256_of(KEY)[:8] not in caller
    assert keys.name(keys.caller([OTHER])) == ""


def test_a_state_that_cuts_callers_short_still_finds_the_name() -> None:
    keys = ring(named("billing"))
    assert keys.name_of_shown(keys.caller([KEY])[:DIGEST_SHOWN]) == "billing"
    assert keys.name_of_shown("0" * DIGEST_SHOWN) == ""
    assert keys.name_of_shown(None) == ""


def test_a_digest_is_no_key() -> None:
    with pytest.raises(InvalidApiKey, match="missing or wrong"):
        ring(named("billing")).caller([sha256_of(KEY)])


def test_a_file_without_entries_lets_nobody_in() -> None:
    assert Keyring().caller([]) == ""
    with pytest.raises(InvalidApiKey):
        ring().caller([KEY])


def test_a_disabled_key_is_told_so() -> None:
    with pytest.raises(InvalidApiKey, match="disabled"):
        ring(named("billing", disabled=True)).caller([KEY])


@pytest.mark.parametrize("left", [(), (named("billing", disabled=True),)])
def test_a_revoked_key_ends_also_for_a_request_that_has_begun(
    left: tuple[CallerKey, ...],
) -> None:
    keys = ring(named("billing"), plain=[OTHER])
    caller, other = keys.caller([KEY]), keys.caller([OTHER])
    assert keys.models(caller) is None
    keys.become(left)
    with pytest.raises(InvalidApiKey):
        keys.caller([KEY])
    with pytest.raises(InvalidApiKey):
        keys.models(caller)
    assert keys.models(other) is None


def test_a_key_has_its_models_and_others_have_all() -> None:
    models = KeyModels.parse(["acme/*"])
    keys = ring(named("billing", models=models), plain=[OTHER])
    assert keys.models(keys.caller([KEY])) is models
    assert keys.models(keys.caller([OTHER])) is None
    assert keys.models("") is None


def test_a_new_key_under_the_same_name_has_used_what_the_former_one_had() -> None:
    keys = ring(named("billing", requests=1))
    assert keys.begin(keys.caller([KEY])) is not None
    keys.become([named("billing", OTHER, requests=1), named("second", KEY, requests=1)])
    with pytest.raises(RateLimited):
        keys.begin(keys.caller([OTHER]))
    assert keys.begin(keys.caller([KEY])) is not None


def test_keys_without_an_entry_have_no_rates() -> None:
    keys = ring(named("billing", requests=1), plain=[OTHER])
    assert keys.begin(keys.caller([OTHER])) is None
    assert keys.begin("") is None


def test_another_worker_with_the_same_keys_knows_the_caller_by_a_label() -> None:
    ingress = ring(named("billing"), plain=["unused", OTHER])
    replica = ring(named("billing"), plain=[OTHER, "unused"])  # in another order
    for key in (KEY, OTHER):
        label = ingress.label(ingress.caller([key]))
        assert label
        assert key not in label
        assert replica.labelled(label) == replica.caller([key])


def test_a_label_is_looked_up_at_the_same_cost_among_any_number_of_keys() -> None:
    costs = []
    for count in (1, 1_000):
        keys = ring(plain=[OTHER, *(f"key {number}" for number in range(count))])
        label = keys.label(keys.caller([OTHER]))
        keys.labelled(label)  # a worker's first one
        costs.append(calls_of(partial(keys.labelled, label)))
    assert costs[1] == costs[0]


def test_a_label_of_no_key_here_is_refused() -> None:
    for there in (ring(named("billing")), ring(plain=[KEY])):
        label = there.label(there.caller([KEY]))
        for keys in (ring(named("other")), ring(), Keyring(), ring(plain=[OTHER])):
            with pytest.raises(InvalidApiKey):
                keys.labelled(label)


def test_the_labels_of_two_workers_have_nothing_in_common() -> None:
    labels = [keys.label(keys.caller([KEY])) for keys in (ring(plain=[KEY]), ring(plain=[KEY]))]
    one, other = (set(label.removeprefix("key ").split()) for label in labels)
    assert not one & other


def test_without_keys_there_are_no_labels() -> None:
    assert Keyring().label("") == ""
    assert Keyring().labelled("") == ""
    with pytest.raises(InvalidApiKey):
        ring(named("billing")).labelled("")


def test_a_key_is_found_as_quickly_among_many() -> None:
    def cost(keys: int) -> int:
        many = ring(*(named(str(n), secrets.token_hex(16)) for n in range(keys)), named("last"))
        return lines_of(lambda: many.caller([KEY]))

    assert cost(1000) == cost(10)
