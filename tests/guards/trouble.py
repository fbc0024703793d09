"""A Hub that limits, hangs or is away harms nobody, and is not harmed."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, drop, insert, never, swap

_FILE = "router/hub/cache.py"
_TROUBLE = "tests/hub/test_hub_trouble.py::"
_KNOWN = "tests/hub/test_cache.py::test_"

GUARDS = (
    Guard(
        "A token over the Hub's limit is not used to ask",
        "router.hub.cache:CachedHub._within_limits",
        never(),
        _TROUBLE + "TestALimit::test_its_reset_is_waited_for",
    ),
    Guard(
        "One token's limit at the Hub applies to no other",
        "router.hub.cache:CachedHub._within_limits",
        swap("self._limited.get(_)", "max(self._limited.values(), default=None)"),
        _TROUBLE + "TestALimit::test_it_is_one_tokens_alone",
    ),
    Guard(
        "The Hub's limit ends",
        "router.hub.cache:CachedHub._within_limits",
        swap("min(_1, LONGEST_LIMIT)", "_1"),
        _TROUBLE + "TestALimit::test_no_answer_makes_it_longer_than_the_hubs_own_window",
    ),
    Guard(
        "Callers of a public model do not wait for a Hub that hangs",
        "router.hub.cache:CachedHub._within",
        never(),
        _TROUBLE + "TestAHang::test_callers_of_a_public_model_do_not_wait_for_it",
    ),
    Guard(
        "Callers of other models wait for the Hub's answer",
        "router.hub.cache:CachedHub._within",
        always(),
        _TROUBLE + "TestAHang::test_others_do_since_only_the_hub_can_say",
    ),
    Guard(
        "A late answer of the Hub counts",
        "router.hub.singleflight:Answers._ask",
        insert("task.cancel()", before="HubUnavailable").nth(1, of=2),
        _TROUBLE + "TestAHang::test_what_it_says_late_counts_all_the_same",
    ),
    Guard(
        "A Hub that is away is asked less and less often",
        "router.hub.singleflight:Answers._lasts",
        swap("UNAVAILABLE_TTL * _", "UNAVAILABLE_TTL"),
        _TROUBLE + "TestAnHourWithoutTheHub::test_it_is_asked_now_and_then_and_then_once[0.0]",
    ),
    Guard(
        "Callers do not all come back at the same moment",
        "router.hub.singleflight:Answers._lasts",
        swap("_1 * (_ + _)", "_1"),
        _TROUBLE + "test_who_was_told_at_once_does_not_come_back_at_once",
    ),
    Guard(
        "The same question is asked once at a time",
        "router.hub.singleflight:Answers._ask",
        swap("self._asking.get(_)", "None"),
        _KNOWN + "anonymous_callers_share_what_was_asked_anonymously",
    ),
    Guard(
        "When the Hub is silent, a model that is not public is refused",
        "router.hub.cache:CachedHub.entitle",
        never("_public_repos"),
        _KNOWN + "without_the_hub_an_unexpired_entitlement_holds",
    ),
    Guard(
        "The grace for public models ends",
        "router.hub.cache:CachedHub.__init__",
        swap("public_grace", "1e9").nth(2, of=2),
        _KNOWN + "without_the_hub_what_was_public_is_served_for_its_grace",
    ),
    Guard(
        "A model that is no longer public has no grace",
        "router.hub.cache:CachedHub._note_access",
        drop("pop"),
        _KNOWN + "the_grace_ends_when_a_model_is_seen_public_no_more[gated]",
    ),
    Guard(
        "A yes of the Hub holds for a minute",
        "router.hub.singleflight:Answers._lasts",
        swap("ANSWER_TTL", "1e9"),
        _KNOWN + "a_yes_holds_for_its_time_and_is_asked_for_again_after",
    ),
    Guard(
        "A refusal ends that token's entitlements at once",
        "router.hub.cache:CachedHub._note_refusal",
        drop("_entitlements"),
        _KNOWN + "a_refusal_by_name_ends_that_callers_entitlement_at_once[InvalidHfToken]",
    ),
    Guard(
        "A thaw ends all entitlements",
        "router.hub.cache:CachedHub.forget",
        drop("_entitlements"),
        _KNOWN + "a_thawed_worker_forgets_also_what_it_was_asking",
    ),
    Guard(
        "Remembered answers are limited in number",
        "router.hub.singleflight:Answers.__init__",
        swap("MAX_ANSWERS", "1 << 40").nth(1, of=2),
        _TROUBLE + "test_refusals_take_bounded_space",
    ),
)
