"""Guards: a caller over its limits costs other callers nothing."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, without

_FILE, _TEST = "router/scheduler/quotas.py", "tests/pool/test_quotas.py::test_"

GUARDS = (
    Guard(
        "A caller's cold starts per minute are limited",
        "router.scheduler.quotas:Quotas._refusal",
        never("max_starts_per_caller"),
        _TEST + "a_callers_starts_per_minute_are_limited",
    ),
    Guard(
        "Joining a start is not charged",
        "router.scheduler.quotas:_starts_with",
        without("queue"),
        _TEST + "a_caller_that_joins_a_start_is_not_charged_for_it",
    ),
    Guard(
        "The number of models that one caller keeps loaded is limited",
        "router.scheduler.quotas:Quotas._yields",
        always("len"),
        _TEST + "a_caller_whose_models_are_all_in_use_gets_no_other",
    ),
    Guard(
        "A caller over its limit yields its own model",
        "router.scheduler.dispatch:Dispatch._admit",
        drop("yield_by_quota"),
        _TEST + "a_caller_over_its_limit_of_models_yields_its_own_least_recently_used",
    ),
    Guard(
        "On a full worker, a caller over its limit makes room with its own engine",
        "router.scheduler.fairness:Holdings.rank",
        swap("_.yielded_by_quota", "True"),
        _TEST + "on_a_full_worker_the_callers_own_engine_makes_room",
    ),
    Guard(
        "Using a yielded model again counts toward the limit",
        "router.scheduler.quotas:Quotas._yields",
        without("yielded_by_quota"),
        _TEST + "a_yielded_model_that_is_used_again_counts_against_the_limit",
    ),
    Guard(
        "A model that several callers use counts toward no single caller's limit",
        "router.scheduler.serving_slot:ServingSlot._lease",
        never("starter"),
        _TEST + "a_model_that_several_callers_use_counts_against_none_of_them",
    ),
    Guard(
        "A caller's waiting requests are limited",
        "router.scheduler.quotas:Quotas._refusal",
        never("_over_places"),
        _TEST + "a_callers_waiting_requests_are_limited",
    ),
    Guard(
        "Bytes of failed and abandoned downloads are charged",
        "router.pool.fetches:Fetcher.fetch",
        drop("charge"),
        _TEST + "bytes_are_charged_to_the_caller_whose_request_downloads_them[abandoned]",
    ),
    Guard(
        "A download is charged while it runs",
        "router.pool.fetches:FetchMeter.note",
        drop("charge"),
        _TEST + "a_long_download_is_charged_while_it_runs",
    ),
    Guard(
        "A quota forgets callers with nothing left to count",
        "router.scheduler.quotas:Window.add",
        drop("del"),
        _TEST + "a_window_forgets_callers_without_recent_charges",
    ),
    Guard(
        "Limits apply per API key, else per token, else to all other callers together",
        "router.access.authorize:Admission.caller",
        body("return key"),
        "tests/requests/test_service.py::"
        "test_limits_are_for_a_key_a_token_or_all_who_bring_neither[first4-second4-False]",
    ),
)
