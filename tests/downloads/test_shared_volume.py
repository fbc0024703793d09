"""Several workers want the same model: real processes on one volume."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.snapshots import Snapshots
from router.downloads.terms import HEARTBEAT
from router.downloads.volume_lock import DEAD_AFTER_POLLS, LockContender, VolumeLock
from router.errors import InsufficientDisk
from router.models import ResolvedModel
from router.pool.interfaces import FetchProgress
from tests.changing import below
from tests.downloads.fetcher import QUICK, STALL_TIMEOUT, Fetcher, download_processes
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.process

NAME = "org/model"
FILES = {"config.json": b"{}", "model.safetensors": bytes(6_000_000)}
WEIGHTS = r"/cdn/.*/model\.safetensors"


@dataclass
class Volume:
    hub: LoopbackHub
    cache: Path
    model: ResolvedModel

    def worker(self, heartbeat: float = HEARTBEAT) -> Fetcher:
        """By default, a pause of 30 seconds costs no worker its lock."""
        return Fetcher(self.hub, self.cache, self.model, heartbeat)

    def downloader(self) -> SnapshotDownloader:
        return SnapshotDownloader(
            self.cache,
            {**self.hub.patient_environment(), "PATH": os.environ["PATH"]},
            stall_timeout=STALL_TIMEOUT,
        )

    @property
    def path(self) -> Path:
        return self.cache / "models--org--model" / "snapshots" / self.model.commit

    @property
    def downloads(self) -> int:
        """How often the weights were requested."""
        return sum(request.path.startswith("/cdn/") for request in self.hub.requests)

    def partials(self) -> list[Path]:
        return below(self.cache, "*.incomplete")

    async def beat(self) -> None:
        """Wait until the first holder of the lock shows that it is alive."""
        lock = Snapshots(self.cache).lock_folder(NAME) / "1"
        before = lock.read_text()
        await eventually(lambda: lock.read_text() != before)

    def is_whole(self) -> bool:
        return Snapshots(self.cache).find(NAME, self.model.commit) == self.path


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with LoopbackHub() as hub:
        yield Volume(hub, tmp_path / "hub", ResolvedModel(NAME, hub.add_repo(NAME, FILES)))


async def test_of_three_workers_one_downloads_and_all_use_it(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "stall")
    with volume.worker() as one, volume.worker() as two, volume.worker() as three:
        workers = (one, two, three)
        await eventually(lambda: all(worker.at > 1_000_000 for worker in workers))
        for _ in range(2):  # a slow download is not dead
            await volume.beat()
        volume.hub.faults.clear()
        for worker in workers:
            assert await worker.outcome() == f"path {volume.path}"
    assert volume.downloads == 1
    assert not volume.partials()


async def test_another_worker_takes_over_from_one_that_was_killed(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "stall")
    with volume.worker() as first:
        await first.downloading()
        first.kill()
    assert volume.partials(), "nobody was left to sweep"
    before = time.monotonic()
    with volume.worker(QUICK) as second:
        assert await second.outcome() == f"path {volume.path}"
    assert time.monotonic() - before > DEAD_AFTER_POLLS * QUICK / 2
    assert volume.is_whole()
    assert not volume.partials()


async def test_one_of_many_waiting_workers_takes_over(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "stall")
    heartbeat = 0.6  # a worker that is silent for nine seconds is dead
    with volume.worker() as first:
        await first.downloading()
        with volume.worker(heartbeat) as second, volume.worker(heartbeat) as third:
            await eventually(lambda: second.lines and third.lines)
            first.kill()
            for worker in (second, third):
                assert await worker.outcome() == f"path {volume.path}"
    assert volume.downloads == 2


async def test_the_child_of_a_killed_router_releases_the_lock_at_once(
    volume: Volume,
) -> None:
    volume.hub.faults.add(WEIGHTS, "stall")
    with volume.worker() as first:
        await first.downloading()
        with volume.worker(15.0) as second:  # its patience with a dead one: 225 seconds
            await eventually(lambda: second.lines)
            first.kill_router()
            assert await second.outcome() == f"path {volume.path}"
    assert not volume.partials()


async def test_a_worker_that_was_frozen_waits_for_the_one_that_took_over(
    volume: Volume,
) -> None:
    volume.hub.faults.add(WEIGHTS, "stall", times=2)
    with volume.worker() as first:
        await first.downloading()
        first.freeze()
        with volume.worker(QUICK) as second:
            await eventually(lambda: volume.downloads == 2)
            progress = len(first.lines)
            first.thaw()
            await eventually(lambda: len(first.lines) > progress)
            volume.hub.faults.clear()
            assert await second.outcome() == f"path {volume.path}"
            assert await first.outcome() == f"path {volume.path}"
    assert volume.downloads == 2


async def test_a_snapshot_is_used_as_soon_as_it_is_sealed(volume: Volume) -> None:
    lock = LockContender(Snapshots(volume.cache).lock_folder(NAME), "somebody").poll()
    assert lock
    beating = asyncio.create_task(_beat(lock))
    with volume.worker() as waiter:
        await eventually(lambda: waiter.lines)
        elsewhere = Volume(volume.hub, volume.cache.parent / "elsewhere", volume.model)
        await elsewhere.downloader().fetch(volume.model, None, lambda _: None)
        shutil.copytree(
            elsewhere.cache,
            volume.cache,
            symlinks=True,
            ignore=shutil.ignore_patterns("router-leases"),
            dirs_exist_ok=True,
        )
        assert await waiter.outcome() == f"path {volume.path}"
        beating.cancel()
    lock.heartbeat()  # until now, this test held the lock


async def _beat(lock: VolumeLock) -> None:
    while True:
        lock.heartbeat()
        await asyncio.sleep(HEARTBEAT)


async def test_a_worker_that_lost_the_lock_removes_nothing(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "stall", times=2)
    progress: list[FetchProgress] = []
    fetching = asyncio.create_task(
        volume.downloader().fetch(volume.model, None, progress.append)
    )
    await eventually(lambda: progress and progress[-1].done > 1_000_000)
    (child,) = download_processes()
    child.suspend()
    with volume.worker(QUICK) as second:
        await eventually(lambda: volume.downloads == 2)  # it has the lock, and half the file
        await second.downloading()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert (volume.path / "config.json").exists()
        volume.hub.faults.clear()
        assert await second.outcome() == f"path {volume.path}"
    assert volume.downloads == 2
    assert volume.is_whole()


async def test_two_commits_of_one_repository_are_fetched_one_after_the_other(
    volume: Volume,
) -> None:
    commit = volume.hub.commit(NAME, {"config.json": b'{"new": 1}'})
    volume.hub.faults.add(WEIGHTS, "stall")
    downloader = volume.downloader()
    progress: list[FetchProgress] = []
    old = asyncio.create_task(downloader.fetch(volume.model, None, progress.append))
    await eventually(lambda: progress and progress[-1].done > 1_000_000)
    waits: list[FetchProgress] = []
    new = asyncio.create_task(downloader.fetch(ResolvedModel(NAME, commit), None, waits.append))
    await eventually(lambda: waits)
    volume.hub.faults.clear()
    for fetching in (old, new):
        assert ((await fetching).path / "model.safetensors").stat().st_size == 6_000_000
    assert volume.downloads == 1, "they share the weights"


async def test_a_cancelled_waiter_disturbs_no_other_worker(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "stall")
    with volume.worker() as first:
        await first.downloading()
        progress: list[FetchProgress] = []
        waiting = asyncio.create_task(
            volume.downloader().fetch(volume.model, None, progress.append)
        )
        await eventually(lambda: progress)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert volume.partials()
        volume.hub.faults.clear()
        assert await first.outcome() == f"path {volume.path}"
    assert volume.downloads == 1


async def test_where_the_first_fails_the_next_tries(volume: Volume) -> None:
    volume.hub.faults.add(WEIGHTS, "hang")
    volume.hub.faults.add(WEIGHTS, "429")
    with volume.worker() as first:
        await eventually(lambda: volume.downloads == 1)
        first.kill()
        with volume.worker(QUICK) as second:
            assert await second.outcome() == "error hub_unavailable"
        lock = LockContender(Snapshots(volume.cache).lock_folder(NAME), "somebody").poll()
        assert lock, "the next has to wait, as for a dead one"
        lock.release()
        with volume.worker() as third:
            assert await third.outcome() == f"path {volume.path}"


async def test_the_lock_is_released_after_an_error(volume: Volume) -> None:
    free = 0
    downloader = SnapshotDownloader(
        volume.cache,
        {**volume.hub.environment(), "PATH": os.environ["PATH"]},
        heartbeat=600.0,  # waiting for a heartbeat would take too long
        free=lambda _: free,
    )
    with pytest.raises(InsufficientDisk):
        await downloader.fetch(volume.model, None, lambda _: None)
    free = 10**12
    async with asyncio.timeout(90):
        found = await downloader.fetch(volume.model, None, lambda _: None)
    assert found.path == volume.path


async def test_a_stale_lock_of_the_hub_client_blocks_no_worker(volume: Volume) -> None:
    # The Hub's client leaves such a file behind on a volume without `flock`.
    locks = volume.cache / ".locks" / "models--org--model"
    locks.mkdir(parents=True)
    digest = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    with (locks / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with volume.worker() as worker:
            assert await worker.outcome() == f"path {volume.path}"
