"""The composition root: what must keep running to the end, and what ends the worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import cast

import pytest

from router.app.configuration import Configuration
from router.app.worker import Worker
from router.clock import WorkerClock
from router.config.catalog import OperatorModel
from router.config.errors import SettingsError
from router.requests.service import Service

WITHIN = 90.0  # seconds; a test that hangs fails


def configuration(home: Path, **more: str) -> Configuration:
    environ = {"HOME": str(home), "HF_HOME": str(home), "PATH": os.environ["PATH"]}
    return Configuration.read(environ | more)


class WatchedClock(WorkerClock):
    """A clock that reports when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = asyncio.Event()

    def look(self) -> float:
        self.looks.set()
        return super().look()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("SSL_CERT_FILE", "no/ca.pem"),
        ("SSL_CERT_FILE", "text"),
        ("POOL_JOURNAL", "no/events.jsonl"),
        ("POOL_JOURNAL", "."),
    ],
)
def test_a_file_that_can_not_be_used_is_an_error_of_the_settings(
    tmp_path: Path, key: str, path: str
) -> None:
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(SettingsError, match=f"{key}='.*': must be a file"):
        configuration(tmp_path, **{key: str(tmp_path / path)})


def test_a_journal_need_not_exist_before_the_start(tmp_path: Path) -> None:
    configuration(tmp_path, POOL_JOURNAL=str(tmp_path / "events.jsonl"))
    assert not (tmp_path / "events.jsonl").exists()


async def test_the_clock_is_looked_at_until_the_last_engine_is_gone(tmp_path: Path) -> None:
    """A clock that nobody reads stands still, and then no drain deadline would pass."""
    clock = WatchedClock()
    worker = Worker(configuration(tmp_path), clock)
    async with worker.open() as service:
        running = asyncio.create_task(worker.until_leaving(service))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, WITHIN)
        assert service.health().leaving
        clock.looks.clear()
        await asyncio.wait_for(clock.looks.wait(), WITHIN)
        assert await worker.drain() == 0


async def test_preloading_that_breaks_down_makes_the_worker_leave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class DefectiveService:
        async def preload(self, model: OperatorModel) -> None:
            raise ZeroDivisionError(model.name)

    worker = Worker(configuration(tmp_path, MODEL_NAME="org/model"))
    async with worker.open():
        service = cast("Service", DefectiveService())
        await asyncio.wait_for(worker.until_leaving(service), WITHIN)
        assert await worker.drain() == 1
    assert "broke down" in caplog.text


async def test_background_work_that_breaks_down_makes_the_worker_leave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class DefectiveClock(WorkerClock):
        def look(self) -> float:
            raise ZeroDivisionError

    worker = Worker(configuration(tmp_path), DefectiveClock())
    async with worker.open() as service:
        await asyncio.wait_for(worker.until_leaving(service), WITHIN)
        assert await worker.drain() == 1
    assert "broke down" in caplog.text


@pytest.mark.parametrize(
    ("named", "loaded", "whole"),
    [(1, "", True), (1, "1", True), (1, "2", False), (0, "", False), (2, "", False)],
)
async def test_the_operators_only_model_may_have_the_whole_device(
    tmp_path: Path, *, named: int, loaded: str, whole: bool
) -> None:
    models, journal = tmp_path / "models.json", tmp_path / "events.jsonl"
    models.write_text(json.dumps({"models": [{"model": f"org/{n}"} for n in range(named)]}))
    more = {"MODELS_CONFIG": str(models)} if named else {}
    more |= {"MAX_LOADED_MODELS": loaded} if loaded else {}
    worker = Worker(configuration(tmp_path, POOL_JOURNAL=str(journal), **more))
    async with worker.open():
        pass
    limits = json.loads(journal.read_text().splitlines()[0])
    assert limits["whole_device"] is whole
