"""Listings of a volume on which another worker makes and removes snapshots meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.downloads.inventory import inventory
from router.downloads.listing import below, inside
from router.downloads.snapshots import Snapshots, has_safe_weights

STAYS, CHANGES = ("org/stays", "1" * 40), ("org/changes", "2" * 40)
ROUNDS = 1_000  # with `Path.rglob`, a hundred were enough to fail


def add(snapshots: Snapshots, repo_id: str, commit: str) -> None:
    """Store a snapshot like the Hub's client, with one file in a subdirectory."""
    snapshot = snapshots.path(repo_id, commit)
    for directory in (snapshot / "sub", snapshots.repo(repo_id) / "blobs"):
        directory.mkdir(parents=True, exist_ok=True)
    (snapshots.repo(repo_id) / "blobs" / "digest").write_bytes(b"xx")
    (snapshot / "sub" / "model.safetensors").symlink_to("../../../blobs/digest")
    snapshots.seal(repo_id, commit, [])
    snapshots.refs.note(repo_id, commit, "main")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Snapshots]:
    """One snapshot stays. A thread makes and removes another one, of another repository."""
    snapshots, over = Snapshots(tmp_path), threading.Event()
    add(snapshots, *STAYS)

    def change() -> None:
        while not over.is_set():
            add(snapshots, *CHANGES)
            snapshots.remove(*CHANGES, unless=lambda: False)

    other = threading.Thread(target=change)
    other.start()
    yield snapshots
    over.set()
    other.join()


@pytest.mark.parametrize(
    "list_all",
    [
        lambda snapshots: [*snapshots.all()],
        lambda snapshots: [*snapshots.refs.in_use()],
        lambda snapshots: [
            (one.repo_id, one.commit) for one in inventory([snapshots.path(*STAYS).parents[2]])
        ],
    ],
    ids=["manifests", "in use", "inventory"],
)
def test_what_stays_is_listed_while_the_rest_changes(
    volume: Snapshots, list_all: Callable[[Snapshots], list[tuple[str, str]]]
) -> None:
    for _ in range(ROUNDS):
        assert set(list_all(volume)) - {CHANGES} == {STAYS}


def test_the_files_of_a_snapshot_are_listed_while_it_is_removed(volume: Snapshots) -> None:
    for _ in range(ROUNDS):
        assert set(volume.own_files(*CHANGES).values()) <= {2}
        assert has_safe_weights(volume.path(*STAYS))
        has_safe_weights(volume.path(*CHANGES))


def test_a_directory_removed_during_its_listing_counts_as_empty(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
    listing = below(tmp_path)
    first = next(listing)
    for name in ("one", "two"):
        (tmp_path / name / "sub").rmdir()
        (tmp_path / name).rmdir()
    assert {first, *listing} == {tmp_path / "one", tmp_path / "two"}
    assert inside(tmp_path / "one") == []
