"""A worker on a read-only volume."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.caller import calling
from tests.e2e.harness import Harness

OWN, OTHER = "acme/own", "acme/other"


@pytest.fixture(scope="module")
def volume(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with one model, mounted read-only."""
    harness.model(OWN)
    harness.model(OTHER)
    volume = tmp_path_factory.mktemp("volume")
    with harness.worker(HF_HOME=str(volume)) as worker:
        asyncio.run(_ask(worker.url))
    bound = subprocess.run(["mount", "--bind", volume, volume], check=False)
    if bound.returncode != 0:
        pytest.skip("may not mount anything here")
    subprocess.run(["mount", "-o", "remount,ro,bind", volume], check=True)
    yield volume
    subprocess.run(["umount", volume], check=True)


async def _ask(url: str) -> None:
    async with calling(url) as caller:
        assert (await caller.chat(OWN)).status == 200


async def test_what_it_holds_is_served_and_the_rest_is_the_operators_matter(
    harness: Harness, volume: Path
) -> None:
    reason = f"nothing can be downloaded to {volume}/hub: Read-only file system"
    with harness.worker(HF_HOME=str(volume), MODEL_NAME=OWN) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == f"I am {OWN}"
            refused = await caller.chat(OTHER)
            assert refused.refusal == (500, "storage_failed")
            assert "Read-only file system" in refused.json["error"]["message"]
            assert str(volume) not in refused.body.decode()
    assert reason in worker.log
    assert f"the cache can't be used: [Errno 30] Read-only file system: '{volume}" in worker.log


def test_without_the_default_model_the_worker_ends_with_a_hint(
    harness: Harness, volume: Path
) -> None:
    worker = harness.new_worker(HF_HOME=str(volume), MODEL_NAME=OTHER)
    worker.start()
    assert worker.wait() == 2
    assert "HF_HUB_CACHE" in worker.log
    assert "a directory to write to: Read-only file system" in worker.log
