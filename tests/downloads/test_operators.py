"""Which snapshots are the operator's, and what it costs to find out."""

from __future__ import annotations

from router.downloads.operators import OperatorsSnapshots
from router.models import ModelRef
from tests.steps import calls_of

COMMIT, OTHER = "a" * 40, "b" * 40


def test_all_names_of_a_repository_count_in_any_case() -> None:
    operators = OperatorsSnapshots([ModelRef("org/a", COMMIT), ModelRef("Org/A", OTHER)])
    assert operators.include("ORG/a", COMMIT)
    assert operators.include("org/a", OTHER)
    assert not operators.include("org/a", "c" * 40)
    operators.name([ModelRef("org/b")])
    assert not operators.include("org/a", COMMIT)
    assert operators.include("org/b", COMMIT)


def test_a_long_catalog_costs_a_snapshot_no_more_than_a_short_one() -> None:
    def cost(models: int) -> int:
        operators = OperatorsSnapshots(ModelRef(f"org/m{n}") for n in range(models))
        return calls_of(lambda: operators.include("org/m0", COMMIT))

    assert cost(1000) == cost(10)
