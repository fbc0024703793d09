"""Everything named in the tables exists. Only `python -m tests.guards` shows that the tests
catch the mutants, because that takes too long for every run."""

from __future__ import annotations

import ast

import pytest

from tests.guards.guard import Guard
from tests.guards.tables import tables
from tests.worker import ROOT

ALL = [
    pytest.param(guard, id=f"{name}: {guard.promise}")
    for name, table in tables().items()
    for guard in table
]


@pytest.mark.parametrize("guard", ALL)
def test_a_guard_can_be_taken_away_from_its_place(guard: Guard) -> None:
    assert guard.mutant(ROOT)


@pytest.mark.parametrize("guard", ALL)
def test_the_test_that_a_guard_names_exists(guard: Guard) -> None:
    file, *_, name = guard.test.split("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name.partition("[")[0] in {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_promise_is_made_twice() -> None:
    promises = [guard.promise for table in tables().values() for guard in table]
    assert len(set(promises)) == len(promises) >= 154
