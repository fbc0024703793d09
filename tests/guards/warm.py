"""Guards: a warm request does not ask the Hub, and gets in only if the Hub would allow it."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap

_TEST = "tests/access/test_warm_requests.py::test_"
_COMMIT = "tests/access/test_warm_requests.py::TestCommit::test_it_is_"
_GRANTS = "tests/access/test_warm_requests.py::TestGrants::test_"

_NAMED = "router.access.authorize:_named"
_ADMITTED = "router.access.authorize:Admission._admitted"
_HOLDS = "router.access.authorize:Admission._holds"
_DECIDE = "router.access.authorize:Admission._decide"
_KEEPS = "router.access.commits:Commits.keeps"
_ANSWERS = "router.hub.singleflight:_Answers"

GUARDS = (
    Guard(
        "An admission ends with the answers that it stands on",
        _HOLDS,
        never("until"),
        _TEST + "it_ends_after_a_minute",
    ),
    Guard(
        "An admission stands on the right of the token",
        _DECIDE,
        swap("(resolution, entitlement)", "(resolution,)"),
        _TEST + "a_token_that_is_refused_for_one_model_is_admitted_to_none",
    ),
    Guard(
        "An admission stands on what the name means",
        _DECIDE,
        swap("(resolution, entitlement)", "(entitlement,)"),
        _TEST + "a_warm_request_makes_nothing_last_longer",
    ),
    Guard(
        "An admission by a former name stands on where that leads",
        "router.access.authorize:Admission._decide_anew",
        swap("(resolution, *_)", "decision.answers"),
        _TEST + "a_former_name_stands_on_where_it_leads",
    ),
    Guard(
        "One caller's admission is not another's",
        _NAMED,
        swap("None if _ is None else caller.digest", "None"),
        _TEST + "one_callers_admission_is_not_anothers",
    ),
    Guard(
        "An anonymous admission is not that of a token",
        _NAMED,
        swap("None if _ is None else caller.digest", "None"),
        _TEST + "an_anonymous_callers_admission_is_not_that_of_a_token",
    ),
    Guard(
        "An admission keeps no token of a caller",
        _DECIDE,
        swap("None if caller is not None else _", "choice.token"),
        _TEST + "a_callers_token_is_forgotten_with_its_request",
    ),
    Guard(
        "A warm request downloads with its own token",
        _ADMITTED,
        swap("_ if decision.with_callers_token else _", "decision.own_token"),
        _TEST + "it_is_given_its_own_token_to_download_with",
    ),
    Guard(
        "A refusal ends the admissions of that token at once",
        _ANSWERS + ".end",
        drop("_end"),
        _TEST + "a_caller_that_is_refused_by_one_name_is_not_admitted_by_another",
    ),
    Guard(
        "A thaw ends all admissions",
        _ANSWERS + ".clear",
        body("TLRUCache.clear(self)"),
        _TEST + "a_thaw_ends_it",
    ),
    Guard(
        "An answer from before a thaw admits nobody after it",
        "router.hub.singleflight:SingleFlightCache._run",
        drop("_end"),
        _TEST + "an_answer_from_before_a_thaw_is_not_remembered_after_it",
    ),
    Guard(
        "An answer that a refusal could no longer find admits nobody",
        _ANSWERS + ".popitem",
        drop("_end"),
        _TEST + "an_answer_that_the_cache_had_no_space_for_does_not_stand",
    ),
    Guard(
        "A name that is served without the Hub is not remembered",
        "router.hub.cache:CachedHub.resolve",
        swap("HubAnswer(seen)", "HubAnswer(seen, 1e9)"),
        _TEST + "what_is_served_without_the_hub_is_asked_for_again",
    ),
    Guard(
        "A right that stands without the Hub is not remembered",
        "router.hub.cache:CachedHub.entitle",
        swap("HubAnswer(None)", "HubAnswer(None, 1e9)").nth(1, of=2),
        _TEST + "a_right_that_stands_without_the_hub_is_asked_for_again",
    ),
    Guard(
        "A warm request is for the commit that was chosen last",
        _KEEPS,
        never("chosen"),
        _COMMIT + "what_another_caller_has_had_chosen_since",
    ),
    Guard(
        "A warm request leaves a commit when its engine is gone",
        _KEEPS,
        swap("_ in self._running(_)", "True"),
        _COMMIT + "the_newest_once_the_engine_is_gone",
    ),
    Guard(
        "A warm request does not keep a grant from being checked",
        _DECIDE,
        swap("(grant,)", "()"),
        _GRANTS + "it_is_checked_when_due_and_ends_when_it_is_withdrawn",
    ),
    Guard(
        "A warm request does not outlive a thaw with its grant",
        "router.access.grants:Grants.invalidate",
        drop("end"),
        _GRANTS + "it_is_checked_after_a_thaw",
    ),
)
