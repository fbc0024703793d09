"""The pool's journal is a file that nobody else can read, choose or misuse."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from router.config import files
from router.config.errors import SettingsError
from router.config.settings import Settings


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def check(journal: Path) -> None:
    files.check(Settings.from_environ({"POOL_JOURNAL": str(journal)}))


def test_a_new_file_is_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with files.append_privately(tmp_path / "journal") as stream:
            stream.write("first\n")
    finally:
        os.umask(before)
    assert mode(tmp_path / "journal") == 0o600


def test_an_older_file_is_closed_to_others_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("first\n")
    path.chmod(0o666)
    check(path)
    with files.append_privately(path) as stream:
        assert mode(path) == 0o600
        stream.write("second\n")
    assert path.read_text() == "first\nsecond\n"


Make = Callable[[Path, Path], None]


def linked(path: Path, target: Path) -> None:
    path.symlink_to(target)


def twice(path: Path, target: Path) -> None:
    target.touch()
    path.hardlink_to(target)


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [linked, twice, pipe])
def test_what_is_no_ordinary_file_of_its_own_ends_the_start(tmp_path: Path, make: Make) -> None:
    path, target = tmp_path / "journal", tmp_path / "target"
    make(path, target)
    with pytest.raises(SettingsError, match="POOL_JOURNAL"):
        check(path)


@pytest.mark.parametrize("name", ["file/journal", "x" * 300, "x" * 300 + "/journal"])
def test_a_path_that_can_not_be_followed_ends_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="POOL_JOURNAL"):
        check(tmp_path / name)


def test_a_link_that_is_put_there_later_is_not_followed(tmp_path: Path) -> None:
    path, target = tmp_path / "journal", tmp_path / "target"
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        files.append_privately(path)
    assert not target.exists()
