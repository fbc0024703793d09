from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.engine_user import BARE, DEFAULT_USER, User, Workspaces, engine_user
from router.config.errors import SettingsError
from tests.engines.test_remove_tree import deep

STRANGER = User(60800, 60800)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def snapshot() -> Iterator[Path]:
    """A snapshot as the Hub's library makes it, readable by everybody."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        blobs, snapshot = Path(name, "model", "blobs"), Path(name, "model", "snapshot")
        for directory in (blobs, snapshot):
            directory.mkdir(parents=True)
        (blobs / "1").write_text("weights")
        (snapshot / "model.safetensors").symlink_to("../blobs/1")
        yield snapshot


def workspaces(user: User | None) -> Workspaces:
    return Workspaces(user, "/bin/sh")


def test_each_engine_has_empty_directories_that_nobody_else_enters(snapshot: Path) -> None:
    made = workspaces(None)
    one, other = made.new(snapshot), made.new(snapshot)
    assert one.directory != other.directory
    for directory in (one.directory, one.temporary, one.cache):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert list(one.cache.iterdir()) == list(one.temporary.iterdir()) == []
    one.clear()
    assert not one.directory.exists()
    assert other.directory.exists()


def test_an_engine_can_not_make_its_directories_too_deep_to_remove(snapshot: Path) -> None:
    made = workspaces(None)
    workspace = made.new(snapshot)
    deep(workspace.temporary)
    workspace.clear()
    assert not workspace.directory.exists()


@pytest.fixture
def cleaned(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Workspaces, Path]:
    """Workspaces whose directory a cleaner has removed, and its path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = workspaces(None)
    root = made.new(snapshot).directory.parent
    shutil.rmtree(root)
    return made, root


def test_directories_that_a_cleaner_removed_are_made_again(
    cleaned: tuple[Workspaces, Path], snapshot: Path
) -> None:
    made, _ = cleaned
    again = made.new(snapshot).directory.parent
    assert again.stat().st_mode & 0o777 == 0o711
    assert made.new(snapshot).directory.parent == again


@pytest.mark.parametrize("how", ["link", pytest.param("directory", marks=as_root)])
def test_nothing_that_another_user_put_in_their_place_is_used(
    cleaned: tuple[Workspaces, Path], snapshot: Path, tmp_path: Path, how: str
) -> None:
    made, root = cleaned
    (planted := tmp_path / "planted").mkdir()
    if how == "link":
        root.symlink_to(planted)
    else:
        planted.rename(root)
        os.chown(root, 60800, 60800)
    assert made.new(snapshot).directory.parent != root
    assert not list(root.iterdir())


def test_what_is_left_goes_with_the_router(snapshot: Path) -> None:
    made = workspaces(None)
    directory = made.new(snapshot).directory
    del made
    assert not directory.parent.exists()


@as_root
def test_an_engine_runs_as_its_user_where_that_can_read_the_model(snapshot: Path) -> None:
    made = workspaces(STRANGER)
    workspace = made.new(snapshot)
    assert workspace.user == "60800:60800"
    assert workspace.home is not None
    assert {workspace.directory.stat().st_uid, workspace.home.stat().st_uid} == {60800}


@as_root
@pytest.mark.parametrize(
    ("hidden", "mode"), [("model", 0o700), ("model/blobs", 0o744), ("model/blobs/1", 0o600)]
)
def test_an_engine_whose_user_could_not_read_a_file_stays_root_without_powers(
    snapshot: Path, hidden: str, mode: int
) -> None:
    (snapshot.parents[1] / hidden).chmod(mode)
    workspace = workspaces(STRANGER).new(snapshot)
    assert (workspace.user, workspace.home) == (BARE, None)


@as_root
def test_that_engines_stay_root_is_told_once_with_what_to_do(
    snapshot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot.parents[1].chmod(0o700)
    made = workspaces(STRANGER)
    for _ in range(2):
        made.new(snapshot)
    (told,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert "chmod o+rX" in told
    assert "ENGINE_USER=root" in told


@as_root
def test_the_operator_names_the_user() -> None:
    assert engine_user(DEFAULT_USER) == STRANGER
    assert engine_user("nobody") == User(65534, 65534)
    assert engine_user("root") is engine_user("0") is None
    with pytest.raises(SettingsError, match="ENGINE_USER='no such one': must be a user"):
        engine_user("no such one")


@as_root
@pytest.mark.parametrize("number", ["4294967295", "99999999999", "9" * 5000])
def test_a_number_that_no_user_can_have_is_refused(number: str) -> None:
    with pytest.raises(SettingsError, match=r"ENGINE_USER=.*below 4294967295"):
        engine_user(number)
    assert engine_user("4294967294") == User(4294967294, 4294967294)
