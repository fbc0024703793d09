"""The plan of an engine's memory, from a download to the pool."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.errors import ModelTooLarge
from router.models import Access, ResolvedModel
from router.pool.interfaces import FetchProgress
from router.repository.conditions import Machine
from router.repository.memory_plan import smallest
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub
from tests.servable import LLAMA

pytestmark = pytest.mark.process

GIB = 1 << 30
CDN = r"/cdn/.*/model\.safetensors"
TOKEN = 2 * 2 * 16 * 2 * 2  # two layers, two heads of 16 numbers, for keys and for values
SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "torch_dtype": "float32",
}
ON_80 = Machine(memory=80 * GIB)


def weights(**tensors: int) -> bytes:
    """A file of fp32 tensors with these numbers of elements."""
    header: dict[str, Any] = {}
    end = 0
    for name, count in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": [count],
            "data_offsets": [end, end := end + 4 * count],
        }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


STORED = weights(first=500_000, second=250_000)
FILES = {
    "config.json": json.dumps(LLAMA | SHAPE).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors": STORED,
}


class Disk:
    """A cache, and a Hub with one model."""

    def __init__(self, hub: LoopbackHub, cache: Path) -> None:
        self.hub, self.cache = hub, cache
        self.model = ResolvedModel("org/model", hub.add_repo("org/model", FILES))
        self.progress: list[FetchProgress] = []

    def downloader(self, machine: Machine | None = ON_80) -> SnapshotDownloader:
        environment = {**self.hub.environment(), "PATH": os.environ["PATH"]}
        return SnapshotDownloader(self.cache, environment, machine=machine)

    @property
    def downloaded_weights(self) -> bool:
        return any("/cdn/" in request.path for request in self.hub.requests)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with LoopbackHub() as hub:
        yield Disk(hub, tmp_path / "hub")


async def test_the_plan_is_told_before_the_weights_come_and_is_exact_once_they_are_there(
    disk: Disk,
) -> None:
    disk.hub.faults.add(CDN, "hang", times=None)
    downloader = disk.downloader()
    fetching = asyncio.create_task(
        downloader.fetch(disk.model, None, disk.progress.append, flags=("--tp=1",))
    )
    await eventually(lambda: any(each.described for each in disk.progress))
    disk.hub.faults.clear()
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    described = disk.progress[-1].described
    assert described is not None
    assert described.plan is not None
    assert described.plan.weights == len(STORED) // 2
    assert (described.plan.token, described.plan.context) == (TOKEN, 4096)
    found = await disk.downloader().fetch(disk.model, None, disk.progress.append)
    assert found.plan is not None
    assert found.plan.weights == 2 * 750_000
    again = await disk.downloader().fetch(disk.model, None, disk.progress.append)
    assert again == found


async def test_each_start_has_the_plan_for_its_own_flags(disk: Disk) -> None:
    disk.hub.faults.add(CDN, "stall", times=1)
    downloader, others = disk.downloader(), list[FetchProgress]()
    first = asyncio.create_task(downloader.fetch(disk.model, None, disk.progress.append))
    second = asyncio.create_task(
        downloader.fetch(disk.model, None, others.append, flags=("--tp-size=2",))
    )
    await eventually(lambda: any(each.described for each in others))
    told = next(each.described for each in others if each.described)
    assert told.plan is None, "it was made for the flags of the first"
    disk.hub.faults.clear()
    one, two = await first, await second
    assert one.plan is not None
    assert two.plan is not None
    assert two.plan.weights == one.plan.weights // 2


async def test_a_model_that_the_gpu_can_not_hold_is_refused_before_its_weights_come(
    disk: Disk,
) -> None:
    with pytest.raises(ModelTooLarge, match=r"The model needs .* This worker has 1\.0 GiB"):
        await disk.downloader(Machine(memory=GIB)).fetch(disk.model, None, disk.progress.append)
    assert not disk.downloaded_weights
    assert not any(path.is_file() for path in disk.cache.glob("models--*/blobs/*"))


async def test_a_model_that_one_gpu_can_not_hold_is_planned_for_several(disk: Disk) -> None:
    alone = await disk.downloader().fetch(disk.model, None, disk.progress.append)
    assert alone.plan is not None
    assert (alone.plan.devices, alone.plan.tensor) == (1, None)
    least = smallest(alone.plan)
    pair = Machine(memory=80 * GIB, devices=2, budget=least - 1)
    spread = await disk.downloader(pair).fetch(disk.model, None, disk.progress.append)
    assert spread.plan is not None
    assert (spread.plan.devices, spread.plan.tensor) == (2, 2)


async def test_a_model_on_the_disk_that_the_gpu_can_not_hold_is_refused(disk: Disk) -> None:
    await disk.downloader().fetch(disk.model, None, disk.progress.append)
    with pytest.raises(ModelTooLarge):
        await disk.downloader(Machine(memory=GIB)).fetch(disk.model, None, disk.progress.append)


async def test_memory_below_the_weights_is_refused_and_the_operator_is_told(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(ModelTooLarge, match="The operator's entry"),
    ):
        await disk.downloader().fetch(disk.model, None, disk.progress.append, claim=1000)
    assert "org/model" in caplog.text
    assert "raise `memory`" in caplog.text
    assert not disk.downloaded_weights


async def test_a_directory_of_the_operators_has_a_plan(tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    model = ResolvedModel("mine", "local", access=Access.LOCAL, path=directory)
    downloader = SnapshotDownloader(tmp_path / "cache", {}, machine=ON_80)
    found = await downloader.fetch(model, None, lambda _: None)
    assert found.plan is not None
    assert (found.plan.weights, found.plan.token) == (2 * 750_000, TOKEN)
    with pytest.raises(ModelTooLarge):
        await downloader.fetch(model, None, lambda _: None, claim=1000)


async def test_without_a_machine_there_is_no_plan(disk: Disk) -> None:
    found = await disk.downloader(machine=None).fetch(disk.model, None, disk.progress.append)
    assert found.plan is None
