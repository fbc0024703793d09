"""A written file is read once, and never while it is being written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.app.fleet.file_watch import FileWatch
from router.config.sources import Sources


class Watched:
    def __init__(self, path: Path) -> None:
        self.path, self.read = path, list[str]()
        self.watch = FileWatch(Sources(keys_file=str(path)), self._changed)

    async def _changed(self) -> None:
        self.read.append(self.path.read_text() if self.path.exists() else "nothing")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    path = tmp_path / "keys.yaml"
    path.write_text("first")
    return Watched(path)


async def test_what_was_read_at_the_start_is_not_read_again(watched: Watched) -> None:
    for _ in range(3):
        await watched.watch.look()
    assert watched.read == []


async def test_a_change_is_read_once_and_only_when_it_is_over(watched: Watched) -> None:
    watched.path.write_text("half of ")
    await watched.watch.look()
    watched.path.write_text("half of the second")
    await watched.watch.look()
    assert watched.read == []
    for _ in range(3):
        await watched.watch.look()
    assert watched.read == ["half of the second"]


async def test_a_link_that_leads_to_another_file_is_a_change(
    watched: Watched, tmp_path: Path
) -> None:
    """Kubernetes replaces the content of a ConfigMap or a Secret like this."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, 0))
    watched.path.unlink()
    watched.path.symlink_to(tmp_path / "one")
    for _ in range(2):
        await watched.watch.look()
    (tmp_path / "new").symlink_to(tmp_path / "two")
    (tmp_path / "new").replace(watched.path)
    for _ in range(2):
        await watched.watch.look()
    assert watched.read == ["one", "two"]


async def test_a_file_that_is_gone_is_looked_at_as_well(watched: Watched) -> None:
    """The reload reports it in the log, and changes nothing."""
    watched.path.unlink()
    for _ in range(3):
        await watched.watch.look()
    assert watched.read == ["nothing"]


async def test_a_file_that_may_be_read_now_is_read(watched: Watched) -> None:
    before = watched.path.stat().st_ctime_ns
    while watched.path.stat().st_ctime_ns == before:  # its clock may count in milliseconds
        watched.path.chmod(0o640)
    for _ in range(3):
        await watched.watch.look()
    assert watched.read == ["first"]
