"""Each caller's share of the Hub's rate-limit windows."""

from __future__ import annotations

import pytest

from router.errors import RateLimited
from router.hub.budget import KNOWN, SPAN, UNKNOWN, HubBudget, Question
from tests.pool.fakes import FakeClock

WINDOW = 100


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def budget(clock: FakeClock) -> HubBudget:
    return HubBudget(clock, requests=WINDOW)


def refusal(question: Question) -> RateLimited | None:
    try:
        question.begin()
    except RateLimited as refused:
        return refused
    return None


def ask(
    budget: HubBudget, caller: str, part: float = UNKNOWN, digest: str | None = None
) -> int:
    """Ask as many questions as allowed, one at a time. Returns how many."""
    for asked in range(10 * WINDOW):
        question = budget.question(digest, caller, part)
        if refused := refusal(question):
            assert 1 <= refused.retry_after <= SPAN
            return asked
        question.end()
    raise AssertionError("there is no limit")


def begun(budget: HubBudget, caller: str) -> list[Question]:
    """Begin as many questions at once as allowed."""
    questions = [budget.question(None, caller, KNOWN) for _ in range(WINDOW)]
    return [question for question in questions if not refusal(question)]


def test_one_caller_alone_may_ask_half_of_what_new_names_may_use(budget: HubBudget) -> None:
    assert ask(budget, "one") == WINDOW * UNKNOWN / 2


def test_the_next_caller_always_finds_something(budget: HubBudget) -> None:
    assert [ask(budget, caller) for caller in ("one", "two", "three")] == [25, 13, 6]


def test_new_names_leave_something_to_those_seen_before(budget: HubBudget) -> None:
    ask(budget, "one")
    assert ask(budget, "one", KNOWN) > 0
    assert ask(budget, "two", KNOWN) > 0


def test_all_together_leave_a_reserve(budget: HubBudget) -> None:
    asked = sum(ask(budget, str(caller), KNOWN) for caller in range(WINDOW))
    assert asked <= WINDOW * KNOWN


def test_each_account_has_a_window_of_its_own_twice_as_large(budget: HubBudget) -> None:
    ask(budget, "one")
    assert ask(budget, "one", digest="token") == WINDOW * UNKNOWN


def test_a_window_is_given_back_after_five_minutes(budget: HubBudget, clock: FakeClock) -> None:
    first = ask(budget, "one")
    clock.advance(SPAN - 0.1)
    assert ask(budget, "one") == 0
    clock.advance(0.1)
    assert ask(budget, "one") == first


def test_what_another_window_had_is_given_back(budget: HubBudget) -> None:
    question = budget.question(None, "one", UNKNOWN)
    question.begin()
    ask(budget, "one")
    question.refund()
    question.refund()
    question.end()
    assert ask(budget, "one") == 1


def test_one_caller_does_not_have_all_questions_that_wait(clock: FakeClock) -> None:
    budget = HubBudget(clock, requests=10_000, at_once=8)
    mine = begun(budget, "one")
    assert len(mine) == 4
    assert len(begun(budget, "two")) == 2
    for question in mine:
        question.end()
    assert len(begun(budget, "one")) == 3


def test_questions_without_an_answer_are_not_remembered(budget: HubBudget) -> None:
    """A Hub that is down may refuse thousands of questions per second."""
    for _ in range(10 * WINDOW):
        question = budget.question(None, "one", UNKNOWN)
        question.begin()
        question.refund()
        question.end()
    assert len(budget) == 0
