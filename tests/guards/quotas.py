"""A caller over its limits costs the others nothing."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, drop, never, swap, without

_FILE, _TEST = "router/scheduler/quotas.py", "tests/pool/test_quotas.py::test_"

GUARDS = (
    Guard(
        "A caller's cold starts per minute are limited",
        "router.scheduler.quotas:Quotas._refusal",
        never("max_starts_per_caller"),
        _TEST + "a_caller_has_so_many_models_started_a_minute",
    ),
    Guard(
        "Joining a start is not charged",
        "router.scheduler.quotas:_starts_with",
        without("queue"),
        _TEST + "who_joins_a_start_is_not_charged_for_it",
    ),
    Guard(
        "The number of models that one caller keeps loaded is limited",
        "router.scheduler.quotas:Quotas._yields",
        always("len"),
        _TEST + "a_caller_that_uses_all_its_models_gets_no_other",
    ),
    Guard(
        "A caller over its limit yields its own model",
        "router.scheduler.machine:Scheduler._admit",
        drop("yield_by_quota"),
        _TEST + "a_caller_over_its_models_gives_up_its_own_least_recently_used",
    ),
    Guard(
        "On a full worker, a caller over its limit makes room with its own engine",
        "router.scheduler.planner:_eviction_order",
        swap("_.yielded_by_quota", "True"),
        _TEST + "on_a_full_worker_its_own_engine_makes_room_not_an_older_one_of_others",
    ),
    Guard(
        "Using a yielded model again counts toward the limit",
        "router.scheduler.quotas:Quotas._yields",
        without("yielded_by_quota"),
        _TEST + "what_was_given_up_is_no_way_around_the_limit",
    ),
    Guard(
        "A model that several callers use counts toward no single caller's limit",
        "router.scheduler.engine_life:EngineLife._grant",
        never("starter"),
        _TEST + "a_model_that_others_use_too_is_no_single_callers",
    ),
    Guard(
        "A caller's waiting requests are limited",
        "router.scheduler.quotas:Quotas._refusal",
        never("_over_places"),
        _TEST + "a_caller_has_so_many_requests_waiting",
    ),
    Guard(
        "Bytes of failed and abandoned downloads are charged",
        "router.pool.executor:Executor._fetch",
        drop("charge"),
        _TEST + "bytes_are_charged_to_the_caller_for_whom_they_came[abandoned]",
    ),
    Guard(
        "A download is charged while it runs",
        "router.pool.progress:FetchMeter.note",
        drop("charge"),
        _TEST + "a_long_download_is_charged_while_it_goes_on",
    ),
    Guard(
        "A quota forgets callers with nothing left to count",
        "router.scheduler.quotas:Window.add",
        drop("del"),
        _TEST + "a_window_forgets_callers_with_whom_it_has_nothing_to_settle",
    ),
    Guard(
        "Limits apply per API key, else per token, else to all other callers together",
        "router.requests.service:Service._order",
        without("digest"),
        "tests/requests/test_service.py::"
        "test_limits_are_for_a_key_a_token_or_all_who_bring_neither[first4-second4-False]",
    ),
)
