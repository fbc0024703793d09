"""Guards: a key in the keys file grants exactly the rights of its entry."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap

_RECALL = "router.access.authorize:Admission.recall"
_ADMITTED = "router.access.authorize:Admission._admitted"
_MODELS = "tests/access/test_key_models.py::test_"
_RING = "tests/access/test_keyring.py::test_"
_RATES = "tests/access/test_rates.py::test_"
_FILE = "tests/config/test_keys_file.py::test_"

GUARDS = (
    Guard(
        "A key is for its models, before the Hub is asked",
        _RECALL,
        never("_look_up"),
        _MODELS + "a_key_opens_its_models_and_no_others",
    ),
    Guard(
        "A key is not for what a former name leads to",
        _ADMITTED,
        never("_asked"),
        _MODELS + "a_former_name_does_not_lead_to_a_model_that_the_key_is_not_for",
    ),
    Guard(
        "A key is for its models alone, also in a list",
        "router.access.authorize:Admission.entitled",
        never("models"),
        _MODELS + "a_loaded_model_is_listed_for_the_keys_that_may_use_it",
    ),
    Guard(
        "A revoked key ends also for a request that waits",
        "router.access.authorize:Admission.renew",
        drop("models"),
        _MODELS + "a_request_that_waits_ends_with_its_key",
    ),
    Guard(
        "A revoked key ends also for a request that has begun",
        "router.access.keyring:Keyring.models",
        never("disabled"),
        _RING + "a_revoked_key_ends_also_for_a_request_that_has_begun[left0]",
    ),
    Guard(
        "A disabled key lets nobody in",
        "router.access.keyring:Keyring._is_disabled",
        swap("key.disabled", "False"),
        _RING + "a_disabled_key_is_told_so",
    ),
    Guard(
        "An empty file of keys lets nobody in",
        "router.access.keyring:Keyring.__init__",
        swap("named is not None", "bool(named)"),
        _RING + "a_file_without_entries_lets_nobody_in",
    ),
    Guard(
        "A token that an answer took is charged",
        "router.access.rates:Usage.end",
        drop("take"),
        _RATES + "an_answer_may_go_beyond_and_is_charged_all_the_same",
    ),
    Guard(
        "A request that ends makes room for another",
        "router.access.rates:Usage.begin",
        never("_at_once"),
        _RATES + "requests_at_once_are_bounded_until_one_ends",
    ),
    Guard(
        "A mistake in the file of keys is told without what stands there",
        "router.config.entries:EntryPlace.refusal",
        swap("self.secret", "False"),
        _FILE + "a_mistake_is_named_by_entry_and_line_without_what_stands_there",
    ),
)
