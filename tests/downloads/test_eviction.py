"""Snapshots on a real disk are removed to make room. A fake pool says which are in use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.eviction import ABANDONED_AFTER, JUST_USED, SnapshotEviction
from router.downloads.last_used import ALL, UNFINISHED, LastUsed
from router.downloads.operators import OperatorsSnapshots
from router.downloads.removal import SnapshotRemoval
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace
from router.downloads.volume_lock import LockContender
from router.errors import InsufficientDisk
from router.models import EngineKey, ModelRef
from router.repository.files import RemoteFile
from tests.downloads.test_retention import FakeSnapshotUse

COMMIT, OTHER = "a" * 40, "b" * 40
NEW = ("org/new", "c" * 40)
SIZE = 100  # bytes of each snapshot's weights


class Use(FakeSnapshotUse):
    """`wanted`: the repositories that an engine uses."""

    wanted: Sequence[str] = ()

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        super().forget_snapshot(repo_id, commit)
        return repo_id not in self.wanted


class House:
    """A cache, a disk of limited size, and a worker that makes room on it."""

    def __init__(self, cache: Path, refs: Sequence[ModelRef] = ()) -> None:
        self.cache, self.pool, self.now = cache, Use(), 4e9
        self.snapshots = Snapshots(cache)
        self.last_used = LastUsed(cache, ALL, self.wall, owner="me")
        self.other_worker = LastUsed(cache, ALL, self.wall, owner="another")
        self.unfinished = LastUsed(cache, UNFINISHED, self.wall)
        self.downloads = SnapshotDownloader(cache, {})
        self.size = 10 * SIZE
        self.space = DiskSpace(lambda: self.size - self.used())
        self.eviction = SnapshotEviction(
            cache,
            last_used=self.last_used,
            unfinished=self.unfinished,
            use=self.pool,
            removal=SnapshotRemoval(
                cache,
                forget=self.pool.forget_snapshot,
                downloads=self.downloads,
                records=[self.last_used, self.unfinished],
            ),
            operators=OperatorsSnapshots(refs),
        )
        self.space.room_maker = self.eviction

    def wall(self) -> float:
        return self.now

    def used(self) -> int:
        return sum(blob.stat().st_size for blob in self.cache.glob("models--*/blobs/*"))

    def put(
        self,
        name: str,
        commit: str = COMMIT,
        *,
        idle: float,
        size: int = SIZE,
        blob: str = "",
        by: LastUsed | None = None,
        sealed: bool = True,
    ) -> None:
        """Store a snapshot that was last used `idle` seconds ago."""
        file = RemoteFile("w.safetensors", size, blob or f"{name}-{commit[:3]}")
        repo = f"org/{name}"
        link = self.snapshots.path(repo, commit) / file.name
        path = self.snapshots.repo(repo) / "blobs" / file.blob
        for each in (link, path):
            each.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        link.symlink_to(path)
        record = by or self.last_used
        if sealed:
            self.snapshots.seal(repo, commit, [file])
        else:
            record = self.unfinished
        record.record(repo, commit)
        then = self.now - idle
        os.utime(record.path(repo, commit), (then, then))

    async def need(self, size: int, total: int = 0) -> None:
        with self.space.reservation() as reservation:
            await reservation.reserve(NEW, size, 0, total or size)

    def has(self, name: str, commit: str = COMMIT) -> bool:
        return self.snapshots.find(f"org/{name}", commit) is not None


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_the_least_recently_used_leave_and_no_more_than_needed(house: House) -> None:
    for number in range(10):
        house.put(str(number), idle=1000.0 + number)
    await house.need(2 * SIZE)
    assert [number for number in range(10) if house.has(str(number))] == list(range(8))
    assert house.used() == 8 * SIZE
    assert not house.last_used.path("org/9", COMMIT).exists()


async def test_what_leaves_takes_its_refs_along_and_leaves_the_others(house: House) -> None:
    for number in range(10):
        house.put("a", str(number) * 40, idle=1000.0 + number)
        house.snapshots.refs.note("org/a", str(number) * 40, f"v{number}")
    await house.need(SIZE)
    refs = house.snapshots.repo("org/a") / "refs"
    assert sorted(ref.name for ref in refs.glob("v*")) == [f"v{n}" for n in range(9)]


async def test_what_no_worker_uses_any_more_is_in_use_no_more(house: House) -> None:
    house.put("idle", idle=JUST_USED)
    house.put("loaded", idle=1000.0)
    house.put("elsewhere", idle=JUST_USED - 1, by=house.other_worker)
    for name in ("idle", "loaded", "elsewhere"):
        house.snapshots.refs.note(f"org/{name}", COMMIT, "main")
    house.pool.used = {("org/loaded", COMMIT)}
    await house.eviction.can_free(0, NEW, ())
    assert sorted(house.snapshots.refs.in_use()) == [
        ("org/elsewhere", COMMIT),
        ("org/loaded", COMMIT),
    ]
    assert (house.snapshots.repo("org/idle") / "refs" / "main").read_text() == COMMIT


async def test_nothing_leaves_while_there_is_room(house: House) -> None:
    house.put("a", idle=1e6)
    await house.need(9 * SIZE)
    assert house.has("a")


async def test_nothing_leaves_for_what_does_not_fit_in_any_case(house: House) -> None:
    for name in "abc":
        house.put(name, idle=1e6)
    house.size = 4 * SIZE
    with pytest.raises(InsufficientDisk, match="1 bytes are missing"):
        await house.need(4 * SIZE + 1)
    assert all(map(house.has, "abc"))


async def test_what_an_engine_uses_stays(house: House) -> None:
    house.put("used", idle=1e6)
    house.put("free", idle=10.0)
    house.pool.wanted = ["org/used"]
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert house.has("used")
    assert not house.has("free")
    with pytest.raises(InsufficientDisk):
        await house.need(2 * SIZE)
    assert house.has("used")


async def test_what_an_engine_uses_counts_for_nothing(house: House) -> None:
    house.put("used", idle=1e6)
    house.put("free", idle=10.0)
    house.pool.used = {("org/used", COMMIT)}
    house.size = 2 * SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(2 * SIZE)
    assert house.has("free")


async def test_the_time_of_a_running_engine_is_its_last_use(house: House) -> None:
    house.put("busy", idle=1e6)
    house.put("idle", idle=1e5)
    house.pool.unused[EngineKey("org/busy", COMMIT)] = 0.0
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert house.has("busy")
    assert not house.has("idle")


async def test_an_idle_engines_files_are_in_use_for_the_other_workers(house: House) -> None:
    house.put("loaded", idle=1e6)
    house.pool.unused[EngineKey("org/loaded", COMMIT)] = 1e6
    house.pool.used = {("org/loaded", COMMIT)}
    rounds = 0

    async def sleep(_: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await house.eviction.run(sleep)
    assert house.other_worker.seconds_ago("org/loaded", COMMIT) < 1


async def test_a_snapshot_that_can_not_be_removed_costs_only_its_space(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put("stuck", idle=1e6)
    house.put("free", idle=10.0)
    locks = house.snapshots.lock_folder("org/stuck")
    locks.parent.mkdir()
    locks.touch()
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert "org/stuck@aaaaaaaaaaaa could not be removed" in caplog.text
    assert (house.has("stuck"), house.has("free")) == (True, False)


async def test_what_is_being_fetched_stays(house: House) -> None:
    house.put("a", idle=1e6)
    house.size = SIZE
    async with house.downloads.exclusive("org/a", COMMIT), asyncio.timeout(60):
        with pytest.raises(InsufficientDisk):
            await house.need(SIZE)
    assert house.has("a")
    await house.need(SIZE)
    assert not house.has("a")


@pytest.mark.parametrize(
    "ref",
    [
        ModelRef("org/mine", COMMIT),
        ModelRef("Org/Mine"),  # no commit is known yet
        ModelRef("org/mine", "main"),
    ],
)
async def test_the_operators_models_stay(tmp_path: Path, ref: ModelRef) -> None:
    house = House(tmp_path, [ref])
    house.put("mine", idle=1e6)
    house.size = SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    assert house.has("mine")


async def test_another_commit_of_an_operators_model_may_leave(tmp_path: Path) -> None:
    house = House(tmp_path, [ModelRef("org/mine")])
    house.put("mine", idle=1e6)
    house.put("mine", OTHER, idle=10.0)
    house.pool.unused[EngineKey("org/mine", COMMIT, listed=True)] = 1e6
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert house.has("mine")
    assert not house.has("mine", OTHER)


async def test_what_another_worker_has_just_used_stays(house: House) -> None:
    house.put("theirs", idle=JUST_USED - 1, by=house.other_worker)
    house.size = SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    house.now += 1
    await house.need(SIZE)
    assert not house.has("theirs")


async def test_what_another_worker_finds_at_the_last_moment_stays(house: House) -> None:
    house.put("a", idle=1e6)
    house.size = SIZE
    house.pool.on_forget = lambda: os.utime(house.last_used.path("org/a", COMMIT), (4e9, 4e9))
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    assert house.has("a")


async def test_a_repository_that_another_worker_works_on_stays(house: House) -> None:
    house.put("a", idle=1e6)
    house.size = SIZE
    lock = LockContender(house.snapshots.lock_folder("org/a"), "another").poll()
    assert lock is not None
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    lock.release()
    await house.need(SIZE)
    assert not house.has("a")


async def test_bytes_that_two_commits_share_count_once(house: House) -> None:
    house.put("a", idle=1e6, blob="shared")
    house.put("a", OTHER, idle=1e5, blob="shared")
    house.put("b", idle=10.0)
    assert await house.eviction.total() == 2 * SIZE
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert house.has("b")
    assert house.used() == SIZE


async def test_old_commits_leave_for_a_new_one_but_for_what_it_needs_of_them(
    house: House,
) -> None:
    house.put("new", idle=1e6, blob="kept")
    house.put("new", OTHER, idle=1e5)
    house.snapshots.link_present("org/new", NEW[1], [RemoteFile("kept.bin", SIZE, "kept")])
    assert LockContender(house.snapshots.lock_folder("org/new"), "the download's").poll()
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert not house.has("new", OTHER)
    assert (house.snapshots.path(*NEW) / "kept.bin").stat().st_size == SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(2 * SIZE)


async def test_files_of_others_stay(house: House) -> None:
    house.put("a", idle=1e6)
    house.snapshots.manifest("org/a", COMMIT).unlink()
    house.size = SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    assert house.used() == SIZE


async def test_what_an_interrupted_download_left_leaves_after_a_while(house: House) -> None:
    house.put("a", idle=ABANDONED_AFTER, sealed=False)
    house.size = SIZE
    with pytest.raises(InsufficientDisk):
        await house.need(SIZE)
    house.now += 1
    await house.need(SIZE)
    assert house.used() == 0
    assert not list(house.unfinished.all())


async def test_a_budget_counts_all_snapshots_and_downloads(house: House) -> None:
    house.space._budget = 3 * SIZE
    house.put("old", idle=1e6)
    house.put("new", idle=10.0)
    with house.space.reservation() as running:
        await running.reserve(("org/one", COMMIT), SIZE, 0, SIZE)
        running.left = 0  # everything is written, but there is no manifest yet
        await house.need(SIZE)
    assert not house.has("old")
    assert house.has("new")


async def test_a_model_larger_than_the_budget_costs_nobody_a_model(house: House) -> None:
    house.space._budget = 3 * SIZE
    house.put("a", idle=1e6)
    with pytest.raises(InsufficientDisk, match=r"has 301 bytes.* 300 bytes in all"):
        await house.need(10, total=3 * SIZE + 1)
    assert house.has("a")


async def test_a_snapshot_without_a_record_is_as_old_as_its_manifest(house: House) -> None:
    house.put("a", idle=0.0)
    house.put("b", idle=1e5)
    house.last_used.forget("org/a", COMMIT)
    manifest = house.snapshots.manifest("org/a", COMMIT)
    os.utime(manifest, (4e9 - 1e6, 4e9 - 1e6))
    house.size = 2 * SIZE
    await house.need(SIZE)
    assert not house.has("a")
    assert house.has("b")


async def test_a_crash_in_the_middle_of_a_removal_loses_nothing_but_space(house: House) -> None:
    house.put("a", idle=1e6)
    manifest = house.snapshots.manifest("org/a", COMMIT)
    manifest.rename(manifest.with_suffix(".withdrawn"))
    assert not house.has("a")  # until it is fetched again, without any download
    assert house.used() == SIZE
    house.size = SIZE
    await house.need(SIZE)
    assert house.used() == 0
