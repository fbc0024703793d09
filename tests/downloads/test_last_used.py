from __future__ import annotations

import logging
from pathlib import Path

import pytest

from router.downloads.last_used import PRIVATE, LastUsed

MODEL = ("org/my-model", "a" * 40)
OTHER = ("org/my-model", "b" * 40)


class Wall:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def last_used(tmp_path: Path, wall: Wall) -> LastUsed:
    return LastUsed(tmp_path, PRIVATE, wall)


def test_a_record_is_known_to_later_workers(last_used: LastUsed, tmp_path: Path) -> None:
    last_used.record(*MODEL)
    after = LastUsed(tmp_path, PRIVATE)
    assert list(after.all()) == [MODEL]
    assert 0 <= after.seconds_ago(*MODEL) < 60


def test_an_update_never_goes_back_and_creates_no_record(
    last_used: LastUsed, wall: Wall
) -> None:
    last_used.update(*OTHER, ago=5.0)
    assert not list(last_used.all())
    last_used.record(*MODEL)
    wall.now = 4e9  # independent of the file system's clock
    last_used.update(*MODEL, ago=5.0)
    assert last_used.seconds_ago(*MODEL) == 5.0
    last_used.update(*MODEL, ago=500.0)
    assert last_used.seconds_ago(*MODEL) == 5.0


def test_a_model_without_a_record_counts_as_just_used(last_used: LastUsed) -> None:
    assert last_used.seconds_ago(*MODEL) == 0.0


def test_one_commit_is_forgotten_without_another(last_used: LastUsed) -> None:
    last_used.record(*MODEL)
    last_used.record(*OTHER)
    last_used.forget(*MODEL)
    last_used.forget(*MODEL)
    assert list(last_used.all()) == [OTHER]


def test_a_failure_to_write_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "router-private").touch()
    with caplog.at_level(logging.WARNING):
        LastUsed(tmp_path, PRIVATE).record(*MODEL)
    assert "can't record" in caplog.text


def test_other_files_are_ignored(last_used: LastUsed, tmp_path: Path) -> None:
    last_used.record(*MODEL)
    (tmp_path / "router-private" / "lost+found").touch()
    assert list(last_used.all()) == [MODEL]
