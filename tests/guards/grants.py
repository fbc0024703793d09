"""Guards: the callers that may use a granted token, and which token they use."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, insert, never, swap, without

_PLACES = "tests/security/test_grants.py::test_"
_NAMES = "tests/security/test_grants_by_name.py::test_"
_OPERATORS = _PLACES + "an_operators_model_is_for_who_brings_no_token_or_a_right_one"
_WORKERS = _PLACES + "the_workers_token_serves_further_models_where_callers_are_known"
_MEANS = _NAMES + "the_workers_token_is_for_what_a_name_means_now"

GUARDS = (
    Guard(
        "Where anybody can call, HF_TOKEN serves the operator's models only",
        "router.access.credentials:_worker_models",
        swap("_NONE", "_ALL"),
        _WORKERS + "[open port]",
    ),
    Guard(
        "Anybody can call a Pod",
        "router.config.platform:detect",
        without("RUNPOD_ENDPOINT_ID"),
        _WORKERS + "[Pod]",
    ),
    Guard(
        "A model's own token comes before the worker's",
        "router.access.credentials:Credentials.choose",
        never("token_env"),
        _OPERATORS + "[loopback-with a token of its own]",
    ),
    Guard(
        "The operator's grant needs no token",
        "router.access.credentials:Credentials.choose",
        without("granted"),
        _OPERATORS + "[open port-by alias]",
    ),
    Guard(
        "A grant covers the revision that the operator named",
        "router.config.catalog:Catalog._by_id",
        never(),
        _PLACES + "a_commit_of_an_operators_model_is_not_what_the_operator_granted[open port]",
    ),
    Guard(
        "Trust in a model's code covers the revision that the operator named",
        "router.config.catalog:Catalog._by_id",
        never(),
        _NAMES + "a_pull_request_is_not_trusted_as_the_model_is[http]",
    ),
    Guard(
        "HF_TOKEN is chosen by the name that the repository has now",
        "router.access.authorize:Admission._decide",
        never("choose"),
        _MEANS + "[http-acme/Before-model_gated]",
    ),
    Guard(
        "A name as written must be allowed",
        "router.access.authorize:Admission._decide",
        never("allow").nth(1, of=2),
        _NAMES + "what_a_former_name_led_to_must_be_allowed_by_that_name_too[queue]",
    ),
    Guard(
        "The repository behind a name must be allowed too",
        "router.access.authorize:Admission._decide",
        never("allow").nth(2, of=2),
        _NAMES + "an_allowed_name_must_lead_to_an_allowed_model[http]",
    ),
    Guard(
        "An allowed model does not include its pull requests",
        "router.config.patterns:_split",
        always(),
        _NAMES + "a_name_that_is_not_allowed_is_refused_before_the_hub_is_asked[http]",
    ),
    Guard(
        "An old commit is not served under a name that was registered anew",
        "router.hub.client:HuggingFaceHub.entitle",
        insert("if response.status_code == 404: return", before="elsewhere"),
        _NAMES + "a_name_that_was_registered_anew_is_another_model[http]",
    ),
)
