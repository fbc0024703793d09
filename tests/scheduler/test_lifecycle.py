from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from router.scheduler.lifecycle import TABLE, Cause, IllegalTransition, State, after


def test_every_state_is_in_the_table_and_can_be_left() -> None:
    assert set(TABLE) == set(State)
    assert all(TABLE[state] for state in State)


def test_every_state_can_be_reached_from_cold_and_leads_back_to_rest() -> None:
    reached, frontier = set(), [State.COLD]
    while frontier:
        state = frontier.pop()
        reached.add(state)
        frontier += [s for s in TABLE[state].values() if s not in reached]
    assert reached == set(State)


def test_every_cause_has_a_meaning_somewhere() -> None:
    assert {cause for causes in TABLE.values() for cause in causes} == set(Cause)


@pytest.mark.parametrize(("state", "cause"), list(itertools.product(State, Cause)))
def test_a_cause_without_meaning_in_a_state_is_refused(state: State, cause: Cause) -> None:
    if cause in TABLE[state]:
        assert after(state, cause) is TABLE[state][cause]
    else:
        with pytest.raises(IllegalTransition, match=cause.name):
            after(state, cause)


def test_memory_is_claimed_from_the_start_until_the_process_is_gone() -> None:
    claiming = {state for state in State if state.claims}
    assert claiming == set(State) - {State.COLD, State.FETCHING, State.FETCHED}
    leaving = {(s, t) for s, causes in TABLE.items() for t in causes.values()}
    released = {s for s, t in leaving if s.claims and not t.claims}
    assert released == {State.STOPPING}


def test_the_readme_shows_the_table_as_it_is() -> None:
    readme = (Path(__file__).parents[2] / "router" / "README.md").read_text()
    shown = [
        line
        for line in readme.splitlines()
        if line.startswith(tuple(f"| {s.name} |" for s in State))
    ]
    assert shown == [
        f"| {state.name} | {cause} | {following.name} |"
        for state, causes in TABLE.items()
        for cause, following in causes.items()
    ]
