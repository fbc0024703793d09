"""The tables can't rot: what they name is there. That the tests catch the mutants is shown
by `python -m tests.guards`, which takes too long for every run."""

from __future__ import annotations

import ast

import pytest

from tests.guards.guard import Guard
from tests.guards.tables import tables
from tests.worker import ROOT

ALL = [pytest.param(guard, id=guard.promise) for table in tables().values() for guard in table]


@pytest.mark.parametrize("guard", ALL)
def test_a_guard_stands_once_in_its_file(guard: Guard) -> None:
    source = (ROOT / guard.file).read_text()
    assert source.count(guard.guard) == 1
    ast.parse(source.replace(guard.guard, guard.mutant))


@pytest.mark.parametrize("guard", ALL)
def test_the_test_that_a_guard_names_exists(guard: Guard) -> None:
    file, *_, name = guard.test.split("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()
