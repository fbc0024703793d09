"""Guards: a caller without rights gets nothing from a model that others may use."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, insert, never, swap, text, without

_WARM = "tests/security/test_warm_models.py::test_"
_NAMES = "tests/security/test_names.py::"
_LOADING = "tests/security/test_while_loading.py::test_"
_HAND_OVER = "tests/security/test_hand_over.py::test_"
_ALIKE = _WARM + "a_private_model_is_to_others_as_one_that_is_not_there"

GUARDS = (
    Guard(
        "A loaded model gives nobody the right to use it",
        "router.access.commits:Commits.entitle",
        swap("await self._hub.entitle(_, _, _)", "HubAnswer(None)").nth(3, of=3),
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-stranger]",
    ),
    Guard(
        "Naming a model's commit gives nobody the right to use it",
        "router.access.commits:Commits.entitle",
        swap("await self._hub.entitle(_, _, _)", "HubAnswer(None)").nth(1, of=3),
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[queue-none]",
    ),
    Guard(
        "A commit chosen earlier gives nobody the right to use it",
        "router.access.commits:Commits.entitle",
        swap("await self._hub.entitle(_, _, _)", "HubAnswer(None)").nth(2, of=3),
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-unscoped]",
    ),
    Guard(
        "A loaded model does not change what the Hub is asked",
        "router.access.authorize:Admission._decide",
        insert(
            "for commit in self._running(ref.repo_id):\n"
            "    loaded = ResolvedModel(ref.repo_id, commit)\n"
            "    await self._hub.entitle(loaded, choice.token)",
            before="resolve",
        ),
        _ALIKE + "[http-name-stranger]",
    ),
    Guard(
        "The Hub's answer to one token is not used for another",
        "router.hub.cache:CachedHub._resolve",
        swap("(_, ref)", "(None, ref)"),
        _LOADING + "while_it_downloads[http]",
    ),
    Guard(
        "One token's entitlement is not another's",
        "router.hub.cache:CachedHub._entitle",
        swap("(_, model.repo_id, model.commit)", "(None, model.repo_id, model.commit)"),
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-none]",
    ),
    Guard(
        "A missing scope is reported only for a model that is publicly visible",
        "router.hub.errors:_refusal",
        without("visible"),
        "tests/hub/test_client.py::test_a_private_model_and_a_missing_one_can_not_be_told_apart",
    ),
    Guard(
        "The caller's own token decides, for the operator's models too",
        "router.access.credentials:Credentials.choose",
        never("caller"),
        _WARM + "the_operators_grant_is_not_for_a_token_that_the_hub_refuses[http-stranger]",
    ),
    Guard(
        "The list of models shows a caller only what it may use",
        "router.requests.listing:ModelListing.all",
        without("yes"),
        _WARM + "the_list_of_models_is_for_each_caller_another[http]",
    ),
    Guard(
        "One model is shown only to a caller that may use it",
        "router.requests.listing:ModelListing.one",
        swap("caller_token(_, None)", "self._admission._credentials.worker"),
        _ALIKE + "[http-name-unknown]",
    ),
    Guard(
        "Nothing may follow a model's name",
        "router.models:_is_name",
        swap("_1.fullmatch", "_1.match"),
        _NAMES + "test_what_is_not_strictly_a_name_goes_no_further[http]",
    ),
    Guard(
        "Nothing may follow a revision",
        "router.models:_is_revision",
        swap("_1.fullmatch", "_1.match"),
        _NAMES + "test_what_is_not_strictly_a_name_goes_no_further[queue]",
    ),
    Guard(
        "An engine's other routes are out of reach",
        "router.requests.routes:ROUTES",
        text("/v1/classify", "/flush_cache"),
        _NAMES + "test_an_engines_own_routes_are_not_there[http]",
    ),
    Guard(
        "A path must equal a route, not start like one",
        "router.http.routes:Routes.serve",
        swap(
            "_1.path",
            "next((route for route in ROUTES if _1.path.startswith(route)), _1.path)",
        ),
        _NAMES + "TestPaths::test_no_path_is_folded_into_a_route[http]",
    ),
    Guard(
        "When the paying token is refused, the next waiter's token pays",
        "router.scheduler.fetching_slot:FetchingSlot._fetch_failed",
        never("refused"),
        _HAND_OVER + "the_next_pays_when_the_payers_token_is_refused[http]",
    ),
    Guard(
        "A refused token pays no more",
        "router.scheduler.fetching_slot:FetchingSlot._fetch_failed",
        drop("refused", "error"),
        "tests/pool/test_pool_downloads.py::test_each_token_is_tried_once",
    ),
)
