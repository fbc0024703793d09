"""Guards of requests to the Hub: who may cause them, how many, where they go, and what happens
without an answer."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, without

_WORK = "tests/security/test_hub_work.py::test_"
_HOME = "tests/downloads/test_token_guard.py::test_"
_TOKEN = "router.downloads.token_guard:TokenGuard"

GUARDS = (
    Guard(
        "A listing goes on at HF_ENDPOINT's origin",
        _TOKEN + ".response",
        drop("_bring_home"),
        "tests/security/test_token_stays_home.py::"
        "test_a_listing_that_goes_on_elsewhere_is_read_at_home[http-other_port]",
    ),
    Guard(
        "A listing is not read at another origin",
        _TOKEN + ".response",
        drop("_check_redirect"),
        "tests/security/test_token_stays_home.py::"
        "test_a_listing_that_is_elsewhere_is_not_read[queue]",
    ),
    Guard(
        "A download's token goes to HF_ENDPOINT's origin alone",
        _TOKEN + ".request",
        never("owns"),
        _HOME + "no_request_takes_the_token_elsewhere_even_if_the_client_says_so",
    ),
    Guard(
        "An address with a user name is not the Hub's",
        "router.hub.origin:HubOrigin.owns",
        body("return url.origin == self._endpoint.origin"),
        _HOME
        + "a_listings_next_page_is_asked_for_at_home"
        + "[https://user:word@hub.example:8443/hf/api/x]",
    ),
    Guard(
        "A token that the Hub has not accepted is no caller",
        "router.access.authorize:Admission.caller",
        without("accepted"),
        _WORK + "invented_tokens_do_not_get_more_places_in_the_queue[http]",
    ),
    Guard(
        "A token that the Hub refuses is a caller no more",
        "router.hub.cache:CachedHub._note_refusal",
        drop("accepted"),
        "tests/hub/test_cache.py::test_a_token_is_accepted_until_it_is_refused",
    ),
    Guard(
        "New names use a part of the Hub's window",
        "router.hub.budget:_Window.take",
        never("part"),
        _WORK
        + "made_up_names_use_up_a_part_of_the_hubs_window_and_then_cost_no_question[http]",
    ),
    Guard(
        "Models in use are asked about, however much others ask",
        "router.hub.cache:CachedHub._question",
        never("reserved"),
        "tests/hub/test_cache.py::test_a_model_in_use_is_asked_about_however_much_was_asked",
    ),
    Guard(
        "One caller leaves something to the next",
        "router.hub.budget:_Window.take",
        swap("_1 - len(self)", "_1"),
        "tests/hub/test_budget.py::test_the_next_caller_always_finds_something",
    ),
    Guard(
        "A question that the Hub did not answer is not remembered",
        "router.hub.budget:_Window.refund",
        drop("remove"),
        "tests/hub/test_budget.py::test_questions_without_an_answer_are_not_remembered",
    ),
    Guard(
        "Questions that wait are shared too",
        "router.hub.budget:_Flights.take",
        never("limit"),
        "tests/hub/test_budget.py::test_one_caller_does_not_have_all_questions_that_wait",
    ),
    Guard(
        "A limited token has no grace",
        "router.hub.cache:CachedHub.resolve",
        always("HubLimited"),
        "tests/hub/test_hub_trouble.py::TestRateLimit::test_a_limited_token_has_no_grace[name]",
    ),
    Guard(
        "A limited token buys no time of a model that became private",
        "router.hub.cache:CachedHub.entitle",
        always("HubLimited"),
        "tests/hub/test_hub_trouble.py::TestRateLimit::test_a_limited_token_has_no_grace[right]",
    ),
    Guard(
        "That a private model is in use does not show",
        "router.hub.cache:CachedHub._question",
        without("seen").nth(1, of=1),
        "tests/hub/test_cache.py::test_a_model_in_use_is_asked_about_however_much_was_asked",
    ),
    Guard(
        "A limited machine keeps no model public for longer than a window",
        "router.hub.last_public:LastPublic.has_grace",
        always("credential"),
        "tests/hub/test_hub_trouble.py::TestRateLimit::"
        "test_a_limited_machine_serves_for_one_of_the_hubs_windows",
    ),
    Guard(
        "A grant that is older than a minute is checked before it serves",
        "router.access.grants:Grants.get",
        never("holds_until"),
        "tests/access/test_grants.py::test_one_that_was_idle_is_checked_before_it_serves",
    ),
    Guard(
        "A thaw has a grant checked before it serves",
        "router.access.grants:Grants.invalidate",
        drop("holds_until"),
        "tests/access/test_grants.py::"
        "test_a_thaw_has_it_checked_before_it_serves_whatever_was_being_asked",
    ),
)
