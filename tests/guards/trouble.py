"""Guards: a Hub that limits, hangs or is down harms nobody, and the worker does not harm the
Hub."""

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
        _TROUBLE + "TestRateLimit::test_its_reset_is_waited_for",
    ),
    Guard(
        "One token's limit at the Hub applies to no other",
        "router.hub.cache:CachedHub._within_limits",
        swap("self._limited_until.get(_)", "max(self._limited_until.values(), default=None)"),
        _TROUBLE + "TestRateLimit::test_it_applies_to_one_token_only",
    ),
    Guard(
        "The Hub's limit ends",
        "router.hub.cache:CachedHub._within_limits",
        swap("min(_1, MAX_RATE_LIMIT)", "_1"),
        _TROUBLE + "TestRateLimit::test_it_is_never_longer_than_the_hubs_own_window",
    ),
    Guard(
        "Callers of a public model do not wait for a Hub that hangs",
        "router.hub.cache:CachedHub._patience",
        never(),
        _TROUBLE + "TestHangingHub::test_callers_of_a_public_model_do_not_wait_for_it",
    ),
    Guard(
        "Callers of other models wait for the Hub's answer",
        "router.hub.cache:CachedHub._patience",
        always(),
        _TROUBLE + "TestHangingHub::test_callers_of_other_models_wait",
    ),
    Guard(
        "A late answer of the Hub counts",
        "router.hub.singleflight:SingleFlightCache._join",
        insert("task.cancel()", before="HubUnavailable").nth(1, of=2),
        _TROUBLE + "TestHangingHub::test_a_late_answer_still_counts",
    ),
    Guard(
        "A Hub that is away is asked less and less often",
        "router.hub.singleflight:SingleFlightCache._ttl",
        swap("UNAVAILABLE_TTL * _", "UNAVAILABLE_TTL"),
        _TROUBLE + "TestAnHourWithoutTheHub::test_it_is_asked_rarely_and_then_once[0.0]",
    ),
    Guard(
        "Callers do not all come back at the same moment",
        "router.hub.singleflight:SingleFlightCache._ttl",
        swap("_1 * (_ + _)", "_1"),
        _TROUBLE + "test_retries_after_a_common_failure_are_spread",
    ),
    Guard(
        "The same question is asked once at a time",
        "router.hub.singleflight:SingleFlightCache._join",
        swap("self._running.get(_)", "None"),
        _KNOWN + "anonymous_callers_share_anonymous_answers",
    ),
    Guard(
        "When the Hub is silent, a model that is not public is refused",
        "router.hub.cache:CachedHub.entitle",
        never("has_grace"),
        _KNOWN + "without_the_hub_an_unexpired_entitlement_holds",
    ),
    Guard(
        "The grace for public models ends",
        "router.hub.cache:CachedHub.__init__",
        swap("public_grace", "1e9").nth(2, of=2),
        _KNOWN + "without_the_hub_a_public_model_is_served_for_its_grace",
    ),
    Guard(
        "A model that is no longer public has no grace",
        "router.hub.last_public:LastPublic.note",
        drop("forget"),
        _KNOWN + "the_grace_ends_when_a_model_is_no_longer_public[gated]",
    ),
    Guard(
        "A yes of the Hub holds for a minute",
        "router.hub.singleflight:SingleFlightCache._ttl",
        swap("ANSWER_TTL", "1e9"),
        _KNOWN + "a_success_is_cached_for_its_time_only",
    ),
    Guard(
        "A refusal ends that token's entitlements at once",
        "router.hub.cache:CachedHub._note_refusal",
        drop("_entitlements"),
        _KNOWN + "a_refusal_by_name_ends_that_callers_entitlement_at_once[InvalidHfToken]",
    ),
    Guard(
        "A thaw ends all entitlements",
        "router.hub.cache:CachedHub.invalidate",
        drop("_entitlements"),
        _KNOWN + "a_thawed_worker_does_not_cache_running_requests",
    ),
    Guard(
        "Remembered answers are limited in number",
        "router.hub.singleflight:SingleFlightCache.__init__",
        swap("MAX_ENTRIES", "1 << 40").nth(1, of=2),
        _TROUBLE + "test_refusals_take_bounded_space",
    ),
)
