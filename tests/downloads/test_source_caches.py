"""Caches that may already contain a model: real directories, filled by the real client."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.snapshots import Snapshots
from router.errors import HubUnavailable, ModelNotFound, UnsupportedModel
from router.models import ResolvedModel
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.process

NAME = "Org/Model"
FILES = {
    "config.json": b"{}",
    "model-1.safetensors": b"1" * 1000,
    "model-2.safetensors": b"2" * 1000,
    "original/model.safetensors": b"x",
    "README.md": b"hello",
}


@dataclass
class Machine:
    """A worker's caches, and the Hub."""

    hub: LoopbackHub
    root: Path
    model: ResolvedModel

    @property
    def baked(self) -> Path:
        return self.root / "models"

    @property
    def source(self) -> Path:
        """RunPod's cached models."""
        return self.root / "runpod-volume" / "huggingface-cache" / "hub"

    @property
    def own(self) -> Path:
        return self.root / "own" / "hub"

    def downloader(
        self, own: Path | None = None, *, allow_unsafe_weights: bool = False
    ) -> SnapshotDownloader:
        return SnapshotDownloader(
            own or self.own,
            {**self.hub.environment(), "PATH": os.environ["PATH"]},
            caches=(self.baked, self.source, self.own),
            allow_unsafe_weights=allow_unsafe_weights,
        )

    async def fetch(self, own: Path | None = None) -> Path:
        del self.hub.requests[:]
        return (await self.downloader(own).fetch(self.model, None, lambda _: None)).path

    async def fill_source(self) -> Path:
        """Fill RunPod's cache as RunPod does: all files, lower case, without a manifest."""
        snapshot = await self.fetch(self.source)
        shutil.rmtree(self.source / "router-manifests")
        shutil.rmtree(self.source / "router-leases")
        repo = snapshot.parents[1]
        repo.rename(repo.with_name(repo.name.lower()))
        return repo.with_name(repo.name.lower()) / "snapshots" / self.model.commit

    @property
    def downloaded(self) -> list[str]:
        """The weights from the CDN since the last `fetch` began."""
        paths = (request.path for request in self.hub.requests)
        return [path.rpartition("/")[2] for path in paths if path.startswith("/cdn/")]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with LoopbackHub() as hub:
        yield Machine(hub, tmp_path, ResolvedModel(NAME, hub.add_repo(NAME, FILES)))


def weights(snapshot: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in snapshot.glob("*.safetensors")}


WHOLE = {name: data for name, data in FILES.items() if name.startswith("model-")}


async def test_a_model_in_the_image_needs_neither_a_download_nor_the_hub(
    machine: Machine,
) -> None:
    baked = await machine.fetch(machine.baked)
    machine.hub.faults.add(".*", "500", times=None)
    assert await machine.fetch() == baked
    assert not machine.hub.requests
    assert not machine.own.exists()


async def test_the_image_comes_before_all_others(machine: Machine) -> None:
    own = await machine.fetch(machine.own)
    assert await machine.fetch() == own
    baked = machine.baked / own.relative_to(machine.own)
    shutil.copytree(machine.own, machine.baked, symlinks=True)
    assert await machine.fetch() == baked


async def test_a_damaged_model_in_the_image_is_not_served(machine: Machine) -> None:
    baked = await machine.fetch(machine.baked)
    (baked / "model-2.safetensors").resolve().write_bytes(b"short")
    found = await machine.fetch()
    assert found.is_relative_to(machine.own)
    assert weights(found) == WHOLE
    assert machine.downloaded == ["model-2.safetensors"]


async def test_runpods_cached_model_is_used_without_a_byte_from_the_cdn(
    machine: Machine,
) -> None:
    source = await machine.fill_source()
    found = await machine.fetch()
    assert machine.downloaded == []
    assert weights(found) == WHOLE
    assert (found / "model-1.safetensors").samefile(source / "model-1.safetensors")
    assert await machine.fetch() == found
    assert not machine.hub.requests, "the second time it is a normal snapshot"


async def test_a_source_cache_may_also_be_the_cache_to_download_to(
    machine: Machine,
) -> None:
    await machine.fill_source()
    found = await machine.fetch(machine.source)
    assert machine.downloaded == []
    assert weights(found) == WHOLE
    # The same with equal letter case.
    ours = found.parents[1]
    shutil.rmtree(ours)
    shutil.rmtree(machine.source / "router-manifests")
    ours.with_name(ours.name.lower()).rename(ours)
    assert await machine.fetch(machine.source) == found
    assert machine.downloaded == []


async def test_only_the_missing_files_of_a_partial_snapshot_are_downloaded(
    machine: Machine,
) -> None:
    source = await machine.fill_source()
    (source / "model-2.safetensors").unlink()
    assert weights(await machine.fetch()) == WHOLE
    assert machine.downloaded == ["model-2.safetensors"]


async def test_a_partial_snapshot_is_not_served_without_the_rest(
    machine: Machine,
) -> None:
    source = await machine.fill_source()
    (source / "model-2.safetensors").unlink()
    machine.hub.faults.add("/cdn/.*", "429", times=None)
    with pytest.raises(HubUnavailable):
        await machine.fetch()
    assert Snapshots(machine.own).find(NAME, machine.model.commit) is None


def shortened(file: Path) -> None:
    file.resolve().write_bytes(b"2" * 999)


def linked_to_another_blob(file: Path) -> None:
    other = file.resolve().with_name("0" * 64)
    other.write_bytes(b"?" * 1000)
    file.unlink()
    file.symlink_to(other)


def linked_out_of_the_cache(file: Path) -> None:
    outside = file.parents[5] / file.resolve().name
    outside.write_bytes(b"?" * 1000)
    file.unlink()
    file.symlink_to(outside)


@pytest.mark.parametrize("damage", [shortened, linked_to_another_blob, linked_out_of_the_cache])
async def test_a_source_file_that_differs_from_the_hubs_listing_is_not_used(
    machine: Machine, damage: object
) -> None:
    assert callable(damage)
    damage(await machine.fill_source() / "model-2.safetensors")
    assert weights(await machine.fetch()) == WHOLE
    assert machine.downloaded == ["model-2.safetensors"]


async def test_plain_files_instead_of_links_count_by_their_size(machine: Machine) -> None:
    source = await machine.fill_source()
    for file in list(source.iterdir()):
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    assert weights(await machine.fetch()) == WHOLE
    assert machine.downloaded == []


async def test_a_deleted_source_cache_is_replaced_by_a_download(machine: Machine) -> None:
    await machine.fill_source()
    await machine.fetch()
    shutil.rmtree(machine.source)
    found = await machine.fetch()
    assert sorted(machine.downloaded) == sorted(WHOLE)
    assert weights(found) == WHOLE
    assert not any(path.resolve().is_relative_to(machine.source) for path in found.iterdir())


async def test_a_model_that_the_hub_does_not_list_is_not_linked(machine: Machine) -> None:
    await machine.fill_source()
    machine.hub.delete(NAME)
    with pytest.raises(ModelNotFound):
        await machine.fetch()


async def test_pickles_on_disk_are_not_served_once_they_are_not_allowed(
    machine: Machine,
) -> None:
    files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    model = ResolvedModel("org/pickled", machine.hub.add_repo("org/pickled", files))
    allowing = machine.downloader(allow_unsafe_weights=True)
    assert await allowing.fetch(model, None, lambda _: None)
    with pytest.raises(UnsupportedModel):
        await machine.downloader().fetch(model, None, lambda _: None)
