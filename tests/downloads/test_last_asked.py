from __future__ import annotations

import logging
from pathlib import Path

import pytest

from router.downloads.last_asked import LastAsked

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
def last_asked(tmp_path: Path, wall: Wall) -> LastAsked:
    return LastAsked(tmp_path, wall)


def test_what_was_noted_is_known_to_who_comes_after(
    last_asked: LastAsked, tmp_path: Path
) -> None:
    last_asked.note(*MODEL)
    after = LastAsked(tmp_path)
    assert list(after.all()) == [MODEL]
    assert 0 <= after.ago(*MODEL) < 60


def test_a_renewal_is_no_step_back_and_makes_no_note(last_asked: LastAsked, wall: Wall) -> None:
    last_asked.renew(*OTHER, ago=5.0)
    assert not list(last_asked.all())
    last_asked.note(*MODEL)
    wall.now = 4e9  # whatever the files' own clock says
    last_asked.renew(*MODEL, ago=5.0)
    assert last_asked.ago(*MODEL) == 5.0
    last_asked.renew(*MODEL, ago=500.0)
    assert last_asked.ago(*MODEL) == 5.0


def test_of_what_is_not_noted_nothing_can_be_concluded(last_asked: LastAsked) -> None:
    assert last_asked.ago(*MODEL) == 0.0


def test_one_commit_is_forgotten_without_another(last_asked: LastAsked) -> None:
    last_asked.note(*MODEL)
    last_asked.note(*OTHER)
    last_asked.forget(*MODEL)
    last_asked.forget(*MODEL)
    assert list(last_asked.all()) == [OTHER]


def test_a_disk_that_can_not_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "router-private").touch()
    with caplog.at_level(logging.WARNING):
        LastAsked(tmp_path).note(*MODEL)
    assert "can't note" in caplog.text


def test_what_is_no_note_is_passed_over(last_asked: LastAsked, tmp_path: Path) -> None:
    last_asked.note(*MODEL)
    (tmp_path / "router-private" / "lost+found").touch()
    assert list(last_asked.all()) == [MODEL]
