"""What an engine leaves behind is removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.remove_tree import remove_tree

NAME = "d" * 200  # the whole path is longer than Linux accepts


def deep(directory: Path, levels: int = 1200) -> None:
    """Make nested directories, one level at a time, with a file in the last."""
    directory.mkdir(exist_ok=True)
    opened = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(NAME, dir_fd=opened)
        inner = os.open(NAME, os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = inner
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=opened))
    os.close(opened)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "engine"
    directory.mkdir()
    return directory


def test_a_directory_goes_however_deep_it_is(directory: Path) -> None:
    deep(directory)
    (directory / "other/inner").mkdir(parents=True)
    (directory / "other/inner/file").write_text("content")
    remove_tree(directory)
    assert not directory.exists()


def test_no_link_is_followed(directory: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("content")
    (directory / "folder").mkdir()
    for place in (directory, directory / "folder"):
        (place / "link").symlink_to(kept)
        (place / "loop").symlink_to("loop")
        os.mkfifo(place / "pipe")
    remove_tree(directory)
    assert not directory.exists()
    assert (kept / "file").read_text() == "content"


def test_a_link_in_its_place_is_not_followed(directory: Path, tmp_path: Path) -> None:
    (directory / "file").write_text("content")
    link = tmp_path / "link"
    link.symlink_to(directory)
    remove_tree(link)
    assert (directory / "file").exists()


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(directory: Path) -> None:
    before = open_files()
    deep(directory, levels=3)
    remove_tree(directory)
    assert open_files() == before
