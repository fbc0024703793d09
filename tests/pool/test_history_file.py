"""The durations of starts survive restarts, for all workers of a volume."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from router.pool.history_file import HistoryFile, HistoryKeeper
from router.scheduler.history import REMEMBERED, Fact, History, Stage
from router.tasks import cancel
from tests.eventually import eventually
from tests.pool.fakes import GIB, FakeClock, spec

A, B = spec("secret-name").key, spec("b").key
PLATFORM = "SGLang 0.5.23, NVIDIA H200"


class Volume:
    """A volume, the workers' clock, and what the workers read."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.file = HistoryFile(HistoryFile.of(root, PLATFORM).path, self.clock)

    def worker(self) -> tuple[History, HistoryKeeper]:
        keeper = HistoryKeeper(self.file, every=0.001, looks=1, last_save=60.0)
        keeper.load()
        return keeper.history, keeper

    async def save(self, keeper: HistoryKeeper) -> None:
        """End a worker."""
        running = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        await cancel(running)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


def expects(volume: Volume, key: object = A, stage: Stage = Stage.START) -> float:
    history, _ = volume.worker()
    assert key in (A, B)
    return history.expected(stage, A if key == A else B, GIB)


async def test_the_next_worker_knows_what_starts_took_and_engines_hold(volume: Volume) -> None:
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 77.5)
    history.took(Stage.WAKE, B, GIB, 1.5)
    history.measured(A, 20 * GIB)
    await volume.save(keeper)
    after, _ = volume.worker()
    assert after.expected(Stage.START, A, GIB) == 77.5
    assert after.expected(Stage.WAKE, B, GIB) == 1.5
    assert after.memory(A) == 20 * GIB
    assert after.memory(B) is None


async def test_a_worker_writes_while_it_runs(volume: Volume) -> None:
    history, keeper = volume.worker()
    running = asyncio.create_task(keeper.run())
    history.took(Stage.START, A, GIB, 77.5)
    await eventually(lambda: expects(volume) == 77.5)
    history.took(Stage.START, A, GIB, 66.5)
    await eventually(lambda: expects(volume) == 66.5)
    await cancel(running)


async def test_nothing_is_written_where_nothing_was_measured(volume: Volume) -> None:
    await volume.save(volume.worker()[1])
    assert not volume.file.path.parent.exists()


async def test_another_platform_has_another_history(volume: Volume, tmp_path: Path) -> None:
    other = HistoryFile.of(tmp_path, "SGLang 0.5.23, NVIDIA L4")
    assert other.path != volume.file.path
    assert other.path.parent == volume.file.path.parent


async def test_of_two_workers_neither_overwrites_the_other(volume: Volume) -> None:
    (first, keeps_first), (second, keeps_second) = volume.worker(), volume.worker()
    first.took(Stage.START, A, GIB, 50.0)
    second.took(Stage.START, B, GIB, 90.0)
    await volume.save(keeps_first)
    await volume.save(keeps_second)
    assert (expects(volume, A), expects(volume, B)) == (50.0, 90.0)


async def test_of_two_measurements_the_later_counts_whoever_writes_last(volume: Volume) -> None:
    (first, keeps_first), (second, keeps_second) = volume.worker(), volume.worker()
    first.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeps_first)
    volume.clock.advance(10)
    second.took(Stage.START, A, GIB, 90.0)
    await volume.save(keeps_second)
    first.took(Stage.START, B, GIB, 1.0)
    await volume.save(keeps_first)
    assert expects(volume, A) == 90.0


async def test_a_running_worker_hears_what_others_have_measured_and_it_has_not(
    volume: Volume,
) -> None:
    told: list[Fact] = []
    own, keeper = volume.worker()
    own.took(Stage.START, A, GIB, 50.0)
    running = asyncio.create_task(keeper.run(told.extend))
    # Of two simultaneous writes, one overwrites the other, until that worker writes again.
    await eventually(lambda: expects(volume) == 50.0)
    other, keeps_other = volume.worker()
    volume.clock.advance(10)
    other.took(Stage.START, A, GIB, 90.0)
    other.took(Stage.START, B, GIB, 70.0)
    other.measured(B, 20 * GIB)
    await volume.save(keeps_other)
    await eventually(lambda: bool(told))
    [fact] = told
    assert (fact.kind, fact.size, fact.value) == (Stage.START, GIB, 70.0)
    volume.clock.advance(10)
    other.took(Stage.START, B, GIB, 75.0)
    await volume.save(keeps_other)
    await eventually(lambda: len(told) == 2)
    assert told[1].value == 75.0
    await cancel(running)


async def test_what_a_worker_knew_from_the_beginning_is_no_news(volume: Volume) -> None:
    before, keeps_before = volume.worker()
    before.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeps_before)
    told: list[Fact] = []
    _, keeper = volume.worker()
    running = asyncio.create_task(keeper.run(told.extend))
    volume.clock.advance(10)
    before.took(Stage.START, B, GIB, 70.0)
    await volume.save(keeps_before)
    await eventually(lambda: bool(told))
    assert [fact.value for fact in told] == [70.0]
    await cancel(running)


async def test_what_another_worker_lost_is_written_again(volume: Volume) -> None:
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeper)
    volume.file.path.write_text("{}")  # by a worker that had read it before
    history.took(Stage.START, B, GIB, 90.0)
    await volume.save(keeper)
    assert (expects(volume, A), expects(volume, B)) == (50.0, 90.0)


async def test_a_clock_that_was_ahead_does_not_hold_a_measurement_for_ever(
    volume: Volume,
) -> None:
    volume.clock.advance(1e6)
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeper)
    volume.clock.advance(-1e6)
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 90.0)
    await volume.save(keeper)
    assert expects(volume) == 90.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"start": 3}',
        b'{"start": {"a": [1, 2]}}',
        b'{"start": {"a": [1, NaN, 3]}}',
        b'{"start": {"a": [1, -2, 3]}}',
        b'{"start": {"a": [1, 1e300, 3]}}',
        b'{"start": {"a": [1, Infinity, 3]}}',
        b'{"start": {"a": [1, 2, 1%s]}}' % (b"0" * 400),  # no float
        b'{"start": {"a": [1%s, 2, 3]}}' % (b"0" * 5000),  # no integer for Python
        b'{"start": {"a": ["1", 2, 3]}}',
        b'{"naps": {"a": [1, 2, 3]}}',
        b"[" * 100_000,
        b" " * (3 << 20),
    ],
)
async def test_of_a_damaged_file_nothing_is_used_and_it_is_replaced(
    volume: Volume, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    volume.file.path.parent.mkdir()
    volume.file.path.write_bytes(content)
    history, keeper = volume.worker()
    assert "saved start times can't be read" in caplog.text
    assert history.expected(Stage.STOP, A, GIB) == History().expected(Stage.STOP, A, GIB)
    history.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeper)
    assert expects(volume) == 50.0


@pytest.mark.parametrize("how", ["a link", "writable for others"])
async def test_a_file_that_another_user_may_have_written_is_not_used(
    volume: Volume, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeper)
    if how == "a link":
        volume.file.path.rename(tmp_path / "elsewhere")
        volume.file.path.symlink_to(tmp_path / "elsewhere")
    else:
        volume.file.path.chmod(0o666)
    assert expects(volume) != 50.0
    assert "saved start times can't be read" in caplog.text


async def test_the_file_names_no_model_and_others_can_not_read_it(volume: Volume) -> None:
    history, keeper = volume.worker()
    history.took(Stage.START, A, GIB, 50.0)
    await volume.save(keeper)
    [file] = volume.file.path.parent.iterdir()
    assert "secret" not in file.read_text()
    assert A.commit not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


async def test_a_volume_that_can_not_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "router-history").write_text("in the way")
    volume = Volume(tmp_path)
    history, keeper = volume.worker()
    caplog.clear()
    caplog.set_level(logging.WARNING)
    running = asyncio.create_task(keeper.run())
    history.took(Stage.START, A, GIB, 50.0)
    await eventually(lambda: "start times can't be saved" in caplog.text)
    history.took(Stage.START, A, GIB, 50.0)
    await cancel(running)
    assert caplog.text.count("start times can't be saved") == 1


def test_the_file_keeps_the_latest_models_alone(volume: Volume) -> None:
    for number in (0, 1):
        fact = Fact("start", f"model {number}", 1, 2.0)
        volume.file.merge({(fact.kind, fact.model): (float(number), fact)})
    many = {
        ("start", f"model {number}"): (float(number), Fact("start", f"model {number}", 1, 2.0))
        for number in range(2, REMEMBERED + 1)
    }
    volume.file.merge(many)
    kept = json.loads(volume.file.path.read_text())["start"]
    assert len(kept) == REMEMBERED
    assert "model 0" not in kept
    assert list(volume.file.path.parent.iterdir()) == [volume.file.path]
