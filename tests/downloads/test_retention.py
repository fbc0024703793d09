"""Private files on a real disk. A fake pool says which are in use."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import PRIVATE, LastUsed
from router.downloads.removal import SnapshotRemoval
from router.downloads.retention import PrivateModelRetention
from router.downloads.snapshots import Snapshots
from router.downloads.volume_lock import DEAD_AFTER_POLLS, LockContender
from router.models import EngineKey
from router.repository.files import RemoteFile
from tests.pool.fakes import settle

REPO, COMMIT, OTHER = "org/model", "a" * 40, "b" * 40
TTL = 100.0


class FakeSnapshotUse:
    """Replaces the pool: which snapshots it uses, and whether it forgets one."""

    def __init__(self) -> None:
        self.unused: dict[EngineKey, float] = {}
        self.forgets = True
        self.used: set[tuple[str, str]] = set()
        self.asked: list[str] = []
        self.on_forget: Callable[[], None] = lambda: None

    def unused_for(self) -> Mapping[EngineKey, float]:
        return self.unused

    def in_use(self) -> set[tuple[str, str]]:
        return self.used

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        self.asked.append(commit)
        self.on_forget()
        return self.forgets


class House:
    def __init__(self, cache: Path) -> None:
        self.cache, self.pool = cache, FakeSnapshotUse()
        self.snapshots = Snapshots(cache)
        self.now = 4e9  # far from the file system's clock: tests set the files' times
        self.last_used = LastUsed(cache, PRIVATE, lambda: self.now)
        self.downloads = SnapshotDownloader(cache, {})
        self.retention = PrivateModelRetention(
            self.last_used,
            ttl=TTL,
            unused_for=self.pool.unused_for,
            removal=SnapshotRemoval(
                cache,
                forget=self.pool.forget_snapshot,
                downloads=self.downloads,
                records=[self.last_used],
            ),
        )

    def put(self, commit: str = COMMIT, weights: str = "weights") -> None:
        """Store a complete snapshot that is used now."""
        files = [RemoteFile("config.json", 6, "config"), RemoteFile("w.bin", 7, weights)]
        for file in files:
            link = self.snapshots.path(REPO, commit) / file.name
            blob = self.snapshots.repo(REPO) / "blobs" / file.blob
            for path in (link, blob):
                path.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(file.blob.encode().ljust(file.size))
            link.symlink_to(blob)
        self.snapshots.seal(REPO, commit, files)
        self.ask(commit)

    def ask(self, commit: str = COMMIT) -> None:
        self.last_used.record(REPO, commit)
        self.last_used.update(REPO, commit, 0.0)

    def has(self, commit: str = COMMIT) -> bool:
        return self.snapshots.find(REPO, commit) is not None

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.cache))
            for folder in ("models--*", "router-manifests", "router-private")
            for top in self.cache.glob(folder)
            for path in (top, *top.rglob("*"))
            if not path.is_dir()
        }


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def key(*, listed: bool = False) -> EngineKey:
    return EngineKey(REPO, COMMIT, listed=listed)


async def test_an_unused_model_leaves_no_file(house: House) -> None:
    house.put()
    house.now += TTL - 1
    await house.retention.sweep()
    assert house.has()
    house.now += 1
    await house.retention.sweep()
    assert not house.files()
    assert not house.snapshots.repo(REPO).exists()


async def test_files_of_another_commit_stay(house: House) -> None:
    house.put()
    house.now += TTL
    house.put(OTHER, weights="others!")
    await house.retention.sweep()
    assert not house.has()
    assert house.has(OTHER)
    assert not [name for name in house.files() if COMMIT in name or "weights" in name]


async def test_a_model_in_use_stays_and_its_time_starts_at_its_last_use(house: House) -> None:
    house.put()
    house.pool.unused[key()] = 0.0
    house.now += 10 * TTL
    await house.retention.sweep()
    house.pool.unused.clear()
    house.now += TTL - 1
    await house.retention.sweep()
    assert house.has()
    house.now += 1
    await house.retention.sweep()
    assert not house.has()


async def test_a_loaded_but_unused_model_is_removed_once_its_engine_is_gone(
    house: House,
) -> None:
    house.put()
    house.now += 2 * TTL
    house.pool.unused[key()] = TTL
    house.pool.forgets = False  # its engine is still loaded
    await house.retention.sweep()
    assert house.has()
    house.pool.forgets = True
    await house.retention.sweep()
    assert not house.has()


async def test_the_operators_models_stay_forever(house: House) -> None:
    house.put()
    house.pool.unused = {key(): TTL, key(listed=True): TTL}
    await house.retention.sweep()
    house.pool.unused.clear()
    house.now += 10 * TTL
    await house.retention.sweep()
    assert house.has()


async def test_a_model_without_a_record_stays(house: House) -> None:
    house.put()
    house.last_used.forget(REPO, COMMIT)
    house.now += 10 * TTL
    await house.retention.sweep()
    assert house.has()
    assert not house.pool.asked


async def test_a_model_that_another_worker_has_just_used_stays(house: House) -> None:
    house.put()
    house.now += TTL
    house.pool.on_forget = house.ask
    await house.retention.sweep()
    assert house.has()
    assert house.pool.asked


async def test_a_call_during_the_removal_does_not_find_half_a_snapshot(house: House) -> None:
    house.put()
    async with house.downloads.exclusive(REPO, COMMIT):
        found = asyncio.create_task(_finds(house))
        await settle()
        assert not found.done()
        house.snapshots.remove(REPO, COMMIT, unless=lambda: False)
    assert not await found


async def _finds(house: House) -> bool:
    async with house.downloads.exclusive(REPO, COMMIT):
        return house.has()


async def test_the_removal_waits_for_another_workers_lock(house: House) -> None:
    house.put()
    house.now += TTL
    lock = LockContender(house.snapshots.lock_folder(REPO), "another").poll()
    assert lock is not None
    await house.retention.sweep()
    assert house.has()
    lock.release()
    await house.retention.sweep()
    assert not house.has()


async def test_a_dead_workers_lock_and_partial_files_are_removed(
    house: House,
) -> None:
    house.put()
    partial = house.snapshots.repo(REPO) / "blobs" / "weights.incomplete"
    partial.touch()
    os.utime(partial, (0, 0))
    assert LockContender(house.snapshots.lock_folder(REPO), "dead").poll()
    house.now += TTL
    for _ in range(DEAD_AFTER_POLLS):
        await house.retention.sweep()
    assert house.has()
    await house.retention.sweep()
    assert not house.files()


async def test_a_faulty_volume_does_not_end_the_loop(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put()
    house.now += TTL
    locks = house.cache / "router-leases"
    locks.touch()
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 2:
            locks.unlink()
        if len(sleeps) == 3:
            raise asyncio.CancelledError

    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        await house.retention.run(sleep)
    assert "could not be removed" in caplog.text
    assert not house.has()
