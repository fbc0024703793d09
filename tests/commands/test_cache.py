"""`cache` runs while workers use the same disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from router.downloads.inventory import KeptSnapshot, Sealed, inventory, matching
from router.downloads.last_used import ALL, PRIVATE, LastUsed
from router.downloads.manual_removal import RemovalRefused, remove_kept
from router.downloads.snapshots import Snapshots
from router.downloads.verification import Verification
from router.downloads.volume_lock import LockContender
from router.repository.files import RemoteFile
from tests.commands.harness import Operator

COMMIT, OTHER = "a" * 40, "b" * 40
BLOB = "4a8b1ba2d2b3ea9ea6bc6a6a3b9c8b5dd1b1bb23b9d8f41b9ab1c9e64cfd4c2a"


def store(
    cache: Path,
    commit: str = COMMIT,
    blobs: dict[str, str] | None = None,
    *,
    sealed: bool = True,
    repo_id: str = "acme/chat",
) -> KeptSnapshot:
    """Store a snapshot as the router does. `blobs`: names of contents, by file."""
    snapshots = Snapshots(cache)
    files = []
    for name, blob in (blobs or {"model.safetensors": BLOB}).items():
        place = snapshots.repo(repo_id) / "blobs" / blob
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * 100)
        files.append(RemoteFile(name, 100, blob))
    snapshots.link_present(repo_id, commit, files)
    if sealed:
        snapshots.seal(repo_id, commit, files)
    snapshots.refs.note(repo_id, commit, "main" if commit == COMMIT else None)
    return next(
        one for one in inventory([cache]) if one.path == snapshots.path(repo_id, commit)
    )


def never_sleeps(_: float) -> None:
    raise AssertionError("nobody holds the lock")


def test_a_snapshot_is_found_by_branch_commit_and_its_beginning(tmp_path: Path) -> None:
    store(tmp_path)
    store(tmp_path, OTHER)
    kept = list(inventory([tmp_path, tmp_path / "missing"]))

    def found(name: str) -> set[str]:
        return {one.commit for one in matching(kept, name)}

    assert found("Acme/Chat") == {COMMIT, OTHER}
    assert found("acme/chat@main") == found(f"acme/chat@{COMMIT}") == {COMMIT}
    assert found("acme/chat@bbbbbbbb") == {OTHER}
    assert found("acme/other") == found("acme/chat@bbb") == set()


def test_what_a_manifest_says_is_told(tmp_path: Path) -> None:
    assert store(tmp_path / "a").sealed is Sealed.WHOLE
    assert store(tmp_path / "b", sealed=False).sealed is Sealed.FOREIGN
    broken = store(tmp_path / "c")
    next(iter(broken.files)).write_bytes(b"short")
    [broken] = inventory([tmp_path / "c"])
    assert broken.sealed is Sealed.INCOMPLETE
    LastUsed(tmp_path / "a", PRIVATE).record("acme/chat", COMMIT)
    [private] = inventory([tmp_path / "a"])
    assert (private.access, broken.access) == ("private", "unknown")


def test_a_removal_keeps_what_other_commits_use(tmp_path: Path) -> None:
    shared = "c" * 64
    one = store(tmp_path, COMMIT, {"model.safetensors": BLOB, "config.json": shared})
    other = store(tmp_path, OTHER, {"model.safetensors": "d" * 64, "config.json": shared})
    remove_kept(one, [tmp_path], never_sleeps)
    [left] = inventory([tmp_path])
    assert (left.commit, left.files) == (other.commit, other.files)
    assert left.sealed is Sealed.WHOLE
    assert not (tmp_path / "models--acme--chat/blobs" / BLOB).exists()


def test_what_a_worker_uses_stays(tmp_path: Path) -> None:
    store(tmp_path)
    LastUsed(tmp_path, ALL).record("acme/chat", COMMIT)
    [used] = inventory([tmp_path])
    with pytest.raises(RemovalRefused, match="within the last 3 minutes"):
        remove_kept(used, [tmp_path], never_sleeps)
    path = LastUsed(tmp_path, ALL).path("acme/chat", COMMIT)
    os.utime(path, (0, 0))
    [idle] = inventory([tmp_path])
    remove_kept(idle, [tmp_path], never_sleeps)
    assert not list(inventory([tmp_path]))
    assert not path.exists()


def test_a_removal_waits_for_the_lock_of_the_repository(tmp_path: Path) -> None:
    one = store(tmp_path)
    lock = LockContender(Snapshots(tmp_path).lock_folder("acme/chat"), "worker").poll()
    assert lock is not None
    held = lock
    with pytest.raises(RemovalRefused, match="a worker downloads or removes files"):
        remove_kept(one, [tmp_path], lambda _: held.heartbeat())
    assert one.path.exists()
    remove_kept(one, [tmp_path], lambda _: held.release())
    assert not one.path.exists()


def test_a_dead_workers_lock_does_not_stay(tmp_path: Path) -> None:
    one = store(tmp_path)
    LockContender(Snapshots(tmp_path).lock_folder("acme/chat"), "dead").poll()
    remove_kept(one, [tmp_path], lambda _: None)
    assert not one.path.exists()


def test_what_another_cache_links_to_stays(tmp_path: Path) -> None:
    one = store(tmp_path / "source")
    blob = tmp_path / "own" / "models--acme--chat" / "blobs" / BLOB
    blob.parent.mkdir(parents=True)
    blob.symlink_to(next(iter(one.files)))
    with pytest.raises(RemovalRefused, match="own links to its files"):
        remove_kept(one, [tmp_path / "source", tmp_path / "own"], never_sleeps)
    assert one.path.exists()


def test_what_another_program_has_put_there_goes_as_its_own_tool_does_it(
    tmp_path: Path,
) -> None:
    one = store(tmp_path, sealed=False)
    shutil.rmtree(tmp_path / "models--acme--chat/refs/router")
    remove_kept(one, [tmp_path], never_sleeps)
    assert not (tmp_path / "models--acme--chat").exists()


def test_a_removal_keeps_the_same_commit_of_a_renamed_repository(tmp_path: Path) -> None:
    names = [f"acme/chat-{n}" for n in range(8)]  # the Hub's code sees them in any order
    kept = {name: store(tmp_path, sealed=False, repo_id=name) for name in names}
    while kept:
        remove_kept(kept.popitem()[1], [tmp_path], never_sleeps)
        assert all(one.path.exists() for one in kept.values())


def test_a_blob_that_two_commits_share_is_read_once(tmp_path: Path) -> None:
    store(tmp_path)
    store(tmp_path, OTHER)
    read: list[int] = []
    verification = Verification(read.append)
    found = [f for one in inventory([tmp_path]) for f in verification.findings(one)]
    assert read == [100]
    assert [bool(finding.flaw) for finding in found] == [True, True]  # BLOB is not its digest


@pytest.mark.process
def test_a_worker_s_cache_is_listed_verified_and_emptied(operator: Operator) -> None:
    commit = operator.publish("acme/chat")
    assert operator.run("prefetch", "acme/chat", "--into", str(operator.cache)).code == 0
    listed = operator.run("cache", "ls", "--json")
    [one] = listed.json["snapshots"]
    assert (one["repository"], one["commit"]) == ("acme/chat", commit)
    assert one["revisions"] == ["main"]
    assert one["state"] == "whole"
    assert listed.json["bytes"] == one["bytes"] > 400_000
    sound = operator.run("cache", "verify", "--json")
    assert sound.code == 0
    assert sound.json["snapshots"][0]["checked_by_size_alone"] == []
    weights = operator.cache / f"models--acme--chat/snapshots/{commit}/model.safetensors"
    with weights.resolve().open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    (weights.parent / "tokenizer.json").resolve().unlink()
    damaged = operator.run("cache", "verify", "acme/chat")
    assert damaged.code == 1
    assert "model.safetensors: damaged: not what the Hub has" in damaged.out
    assert "tokenizer.json: missing" in damaged.out
    assert operator.run("cache", "rm", "acme/chat").code == 2  # there is no terminal to ask
    assert weights.exists()
    removed = operator.run("cache", "rm", "acme/chat@main", "--yes")
    assert removed.code == 0, removed.all
    assert f"removed acme/chat@{commit[:12]}" in removed.out
    assert not weights.parent.exists()
    assert not (operator.cache / "acme/chat").is_symlink()
    nothing = operator.run("cache", "ls").out
    assert nothing.startswith("No model is on the disk, in none of: ")
    assert f"{operator.cache}" in nothing
    again = operator.run("cache", "rm", "acme/chat", "--yes")
    assert again.code == 2
    assert "is in no cache of this worker" in again.err


@pytest.mark.process
def test_on_a_terminal_a_removal_asks_first(operator: Operator) -> None:
    commit = operator.publish("acme/chat")
    assert operator.run("prefetch", "acme/chat", "--into", str(operator.cache)).code == 0
    kept = operator.on_terminal("cache", "rm", "acme/chat", answers="n\n")
    assert kept.code == 1
    assert "Nothing was removed." in kept.out
    snapshot = operator.cache / f"models--acme--chat/snapshots/{commit}"
    assert snapshot.exists()
    assert operator.on_terminal("cache", "rm", "acme/chat", answers="y\n").code == 0
    assert not snapshot.exists()
