"""Private files on a real disk, beside a pool that says what is in use."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_asked import LastAsked
from router.downloads.retention import Removal
from router.downloads.snapshots import RemoteFile, Snapshots
from router.downloads.volume_lock import PATIENCE, Queue
from router.models import EngineKey
from tests.pool.fakes import settle

REPO, COMMIT, OTHER = "org/model", "a" * 40, "b" * 40
TTL = 100.0


class Shelf:
    """As the pool: what it knows of, and whether it lets go."""

    def __init__(self) -> None:
        self.unused: dict[EngineKey, float] = {}
        self.lets_go = True
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def unused_for(self) -> Mapping[EngineKey, float]:
        return self.unused

    def forget_snapshot(self, repo_id: str, commit: str) -> bool:
        self.asked.append(commit)
        self.meanwhile()
        return self.lets_go


class House:
    def __init__(self, cache: Path) -> None:
        self.cache, self.shelf = cache, Shelf()
        self.snapshots = Snapshots(cache)
        self.now = 4e9  # far from the files' own times, which are set by it
        self.last_asked = LastAsked(cache, lambda: self.now)
        self.downloads = SnapshotDownloader(cache, {})
        self.removal = Removal(
            cache, self.last_asked, ttl=TTL, pool=self.shelf, downloads=self.downloads
        )

    def put(self, commit: str = COMMIT, weights: str = "weights") -> None:
        """A whole snapshot, asked for now."""
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
        self.last_asked.note(REPO, commit)
        self.last_asked.renew(REPO, commit, 0.0)

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


async def test_what_nobody_asks_for_leaves_no_file(house: House) -> None:
    house.put()
    house.now += TTL - 1
    await house.removal.sweep()
    assert house.has()
    house.now += 1
    await house.removal.sweep()
    assert not house.files()
    assert not house.snapshots.repo(REPO).exists()


async def test_what_another_commit_has_too_stays(house: House) -> None:
    house.put()
    house.now += TTL
    house.put(OTHER, weights="others!")
    await house.removal.sweep()
    assert not house.has()
    assert house.has(OTHER)
    assert not [name for name in house.files() if COMMIT in name or "weights" in name]


async def test_what_is_in_use_stays_and_lives_on_from_its_last_use(house: House) -> None:
    house.put()
    house.shelf.unused[key()] = 0.0
    house.now += 10 * TTL
    await house.removal.sweep()
    house.shelf.unused.clear()
    house.now += TTL - 1
    await house.removal.sweep()
    assert house.has()
    house.now += 1
    await house.removal.sweep()
    assert not house.has()


async def test_what_is_up_and_unused_lives_no_longer_for_that(house: House) -> None:
    house.put()
    house.now += 2 * TTL
    house.shelf.unused[key()] = TTL
    house.shelf.lets_go = False  # not before its engine has gone
    await house.removal.sweep()
    assert house.has()
    house.shelf.lets_go = True
    await house.removal.sweep()
    assert not house.has()


async def test_the_operators_models_stay_for_ever(house: House) -> None:
    house.put()
    house.shelf.unused = {key(): TTL, key(listed=True): TTL}
    await house.removal.sweep()
    house.shelf.unused.clear()
    house.now += 10 * TTL
    await house.removal.sweep()
    assert house.has()


async def test_what_was_never_noted_stays(house: House) -> None:
    house.put()
    house.last_asked.forget(REPO, COMMIT)
    house.now += 10 * TTL
    await house.removal.sweep()
    assert house.has()
    assert not house.shelf.asked


async def test_what_another_worker_is_asked_for_at_that_moment_stays(house: House) -> None:
    house.put()
    house.now += TTL
    house.shelf.meanwhile = house.ask
    await house.removal.sweep()
    assert house.has()
    assert house.shelf.asked


async def test_who_asks_while_it_is_removed_does_not_find_half_of_it(house: House) -> None:
    house.put()
    async with house.downloads.alone(REPO, COMMIT):
        found = asyncio.create_task(_finds(house))
        await settle()
        assert not found.done()
        house.snapshots.remove(REPO, COMMIT, unless=lambda: False)
    assert not await found


async def _finds(house: House) -> bool:
    async with house.downloads.alone(REPO, COMMIT):
        return house.has()


async def test_another_workers_turn_at_the_repository_is_waited_for(house: House) -> None:
    house.put()
    house.now += TTL
    lease = Queue(house.snapshots.leases(REPO), "another").look()
    assert lease is not None
    await house.removal.sweep()
    assert house.has()
    lease.free()
    await house.removal.sweep()
    assert not house.has()


async def test_a_dead_workers_turn_and_what_it_was_writing_are_not_for_ever(
    house: House,
) -> None:
    house.put()
    partial = house.snapshots.repo(REPO) / "blobs" / "weights.incomplete"
    partial.touch()
    os.utime(partial, (0, 0))
    assert Queue(house.snapshots.leases(REPO), "dead").look()
    house.now += TTL
    for _ in range(PATIENCE):
        await house.removal.sweep()
    assert house.has()
    await house.removal.sweep()
    assert not house.files()


async def test_a_volume_that_is_unwell_ends_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put()
    house.now += TTL
    leases = house.cache / "router-leases"
    leases.touch()
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 2:
            leases.unlink()
        if len(sleeps) == 3:
            raise asyncio.CancelledError

    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        await house.removal.run(sleep)
    assert "could not be removed" in caplog.text
    assert not house.has()
