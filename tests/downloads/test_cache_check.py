"""Whether the cache can be used, as the start asks."""

from __future__ import annotations

from pathlib import Path

from router.downloads.cache_check import cache_problem, is_on_disk
from router.downloads.snapshots import Snapshots
from router.models import ModelRef

MODEL = ModelRef("org/model")


def test_a_cache_that_can_not_be_looked_at_has_a_problem_and_no_model(tmp_path: Path) -> None:
    cache = tmp_path / ("x" * 300)
    assert cache_problem(cache) is not None
    assert not is_on_disk(MODEL, [cache])


def test_such_a_cache_hides_no_model_in_the_next_one(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.path(MODEL.repo_id, "a" * 40).mkdir(parents=True)
    snapshots.seal(MODEL.repo_id, "a" * 40, [])
    assert is_on_disk(MODEL, [tmp_path / ("x" * 300), tmp_path])
