"""Snapshots on disk, reserved disk space, and the selection of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.downloads.snapshots import DamagedSnapshot, Snapshots
from router.downloads.space import DiskSpace, free_space
from router.errors import InsufficientDisk
from router.repository.files import RemoteFile

REPO, COMMIT = "org/model", "a" * 40
CONFIG = RemoteFile("config.json", 2, "blob-config")
WEIGHTS = RemoteFile("sub/model.safetensors", 5, "blob-weights")
FILES = [CONFIG, WEIGHTS]


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path)


def put(snapshots: Snapshots, file: RemoteFile, data: bytes, commit: str = COMMIT) -> Path:
    """Store a file like the Hub's client: a blob, and a link to it."""
    link = snapshots.path(REPO, commit) / file.name
    blob = snapshots.path(REPO, commit).parents[1] / "blobs" / file.blob
    for path in (link, blob):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    return blob


def put_whole(snapshots: Snapshots) -> None:
    put(snapshots, CONFIG, b"{}")
    put(snapshots, WEIGHTS, b"xxxxx")


def test_a_disk_is_measured_where_the_cache_has_no_possible_name(tmp_path: Path) -> None:
    assert free_space(tmp_path / ("x" * 300) / "hub") > 0


def test_nothing_is_on_disk_without_a_manifest(snapshots: Snapshots) -> None:
    put_whole(snapshots)
    assert snapshots.find(REPO, COMMIT) is None
    snapshots.seal(REPO, COMMIT, FILES)
    assert snapshots.find(REPO, COMMIT) == snapshots.path(REPO, COMMIT)


def test_a_snapshot_with_a_short_file_is_not_sealed(snapshots: Snapshots) -> None:
    put(snapshots, CONFIG, b"{}")
    put(snapshots, WEIGHTS, b"xxx")
    with pytest.raises(DamagedSnapshot):
        snapshots.seal(REPO, COMMIT, FILES)
    assert snapshots.find(REPO, COMMIT) is None


@pytest.mark.parametrize("damage", ["short", "gone", "manifest"])
def test_damage_after_sealing_is_noticed(
    snapshots: Snapshots, tmp_path: Path, damage: str
) -> None:
    put_whole(snapshots)
    snapshots.seal(REPO, COMMIT, FILES)
    (manifest,) = tmp_path.glob("router-manifests/*/*.json")
    assert json.loads(manifest.read_text()) == {CONFIG.name: 2, WEIGHTS.name: 5}
    link = snapshots.path(REPO, COMMIT) / WEIGHTS.name
    match damage:
        case "short":
            link.write_bytes(b"x")
        case "gone":
            link.resolve().unlink()
        case "manifest":
            manifest.write_text('{"config.js')
    assert snapshots.find(REPO, COMMIT) is None


def test_files_of_the_wrong_size_are_removed_and_no_others(snapshots: Snapshots) -> None:
    whole = put(snapshots, CONFIG, b"{}")
    short = put(snapshots, WEIGHTS, b"xxx")
    snapshots.remove_damaged(REPO, COMMIT, FILES)
    assert whole.exists()
    assert not short.exists()
    assert snapshots.bytes_present(REPO, COMMIT, FILES) == CONFIG.size


def test_a_blob_without_a_link_needs_no_download(snapshots: Snapshots) -> None:
    put(snapshots, WEIGHTS, b"xxxxx", commit="b" * 40)
    assert snapshots.bytes_present(REPO, COMMIT, FILES) == WEIGHTS.size


def test_discarding_leaves_what_was_there_before_and_what_others_use(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    shared = RemoteFile("tokenizer.json", 2, "blob-shared")
    old = put(snapshots, CONFIG, b"{}")
    before = snapshots.blobs(REPO)
    new = put(snapshots, WEIGHTS, b"xxxxx")
    kept = put(snapshots, shared, b"{}")
    put(snapshots, shared, b"{}", commit="b" * 40)
    snapshots.discard(REPO, COMMIT, before)
    assert (old.exists(), new.exists(), kept.exists()) == (True, False, True)
    assert not (snapshots.path(REPO, COMMIT) / "sub").exists()


def test_blobs_that_can_not_be_listed_do_not_count_as_none(snapshots: Snapshots) -> None:
    assert snapshots.blobs(REPO) == frozenset()
    snapshots.repo(REPO).mkdir()
    (snapshots.repo(REPO) / "blobs").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        snapshots.blobs(REPO)


def test_discarding_all_leaves_no_directory(snapshots: Snapshots) -> None:
    put_whole(snapshots)
    snapshots.discard(REPO, COMMIT, frozenset())
    assert not snapshots.path(REPO, COMMIT).exists()
    assert snapshots.blobs(REPO) == frozenset()


def test_only_the_named_partials_are_removed(snapshots: Snapshots) -> None:
    mine = put(snapshots, RemoteFile("x", 1, "x.1.incomplete"), b"x")
    other = put(snapshots, RemoteFile("y", 1, "y.2.incomplete"), b"y")
    outside = mine.parents[1] / "outside.incomplete"
    outside.touch()
    snapshots.remove_partials(
        REPO, ["x.1.incomplete", "../outside.incomplete", "never-written"]
    )
    assert (mine.exists(), other.exists(), outside.exists()) == (False, True, True)


async def test_two_downloads_do_not_count_on_the_same_bytes() -> None:
    space, model = DiskSpace(lambda: 100), (REPO, COMMIT)
    with space.reservation() as first, space.reservation() as second:
        await first.reserve(model, 70, 0, 70)
        with pytest.raises(InsufficientDisk, match="10 bytes are missing"):
            await second.reserve(model, 40, 0, 40)
        first.left = 60  # ten were written, so they no longer count as free
        await second.reserve(model, 40, 0, 40)
    with space.reservation() as third:
        await third.reserve(model, 100, 0, 100)


async def test_the_reserve_stays_free() -> None:
    space = DiskSpace(lambda: 100, reserve=30)
    with space.reservation() as only:
        with pytest.raises(InsufficientDisk, match="1 bytes are missing"):
            await only.reserve((REPO, COMMIT), 71, 0, 71)
        await only.reserve((REPO, COMMIT), 70, 0, 70)
