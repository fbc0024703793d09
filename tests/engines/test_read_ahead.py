from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import read_ahead
from engines.read_ahead import ReadAhead, WeightPart, WeightReader, parts
from router.pool.interfaces import EngineStartError
from router.scheduler.actions import Allotment
from tests.pool.fakes import GIB, FakeGauge, FakeLauncher, settle, spec

MIB = 1 << 20
CHUNK = 8 * MIB
WITHIN = 90.0  # seconds
ALLOTMENT = Allotment(claim=GIB, free=GIB, whole=True)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """100 MiB of weights on the disk, but not in the page cache."""
    for name, size in (("model-2.safetensors", 30), ("model-1.safetensors", 70)):
        with (tmp_path / name).open("wb") as file:
            file.write(os.urandom(MIB) * size)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def cached(path: Path) -> int:
    """Bytes of a file in the page cache, according to the kernel."""
    size = path.stat().st_size
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert libc.mincore(address, size, pages) == 0
    return sum(page & 1 for page in pages.raw) * mmap.PAGESIZE


def test_weights_are_read_in_the_order_of_loading_and_nothing_else(snapshot: Path) -> None:
    assert parts(snapshot, GIB) == (
        WeightPart(snapshot / "model-1.safetensors", 70 * MIB),
        WeightPart(snapshot / "model-2.safetensors", 30 * MIB),
    )


@given(room=st.integers(-MIB, 200 * MIB))
def test_no_more_is_read_than_there_is_room(room: int) -> None:
    directory = Path(__file__).parent
    assert sum(part.size for part in parts(directory, room)) <= max(0, room)


@pytest.mark.parametrize(("room", "first", "second"), [(GIB, 70, 30), (80 * MIB, 70, 10)])
def test_what_was_read_is_in_the_page_cache(
    snapshot: Path, room: int, first: int, second: int
) -> None:
    one, two = snapshot / "model-1.safetensors", snapshot / "model-2.safetensors"
    if cached(one):
        pytest.skip("this file system keeps files in memory")
    reader = WeightReader(snapshot, room)
    reader.thread.join(WITHIN)
    assert reader.read == (first + second) * MIB
    assert cached(one) == 70 * MIB
    assert second * MIB <= cached(two)


def test_an_empty_file_is_no_reason_to_stop(snapshot: Path) -> None:
    (snapshot / "a.bin").touch()
    reader = WeightReader(snapshot, GIB)
    reader.thread.join(WITHIN)
    assert reader.read == 100 * MIB


def test_little_is_not_read_ahead(snapshot: Path) -> None:
    reader = WeightReader(snapshot, 10 * MIB)
    reader.thread.join(WITHIN)
    assert reader.read == 0


def test_a_reader_that_is_told_to_stop_ends_within_a_chunk(snapshot: Path) -> None:
    reader = WeightReader(snapshot, GIB, rate=1)
    reader.stop()
    reader.thread.join(WITHIN)
    assert not reader.thread.is_alive()
    assert reader.read <= CHUNK


def test_no_more_is_read_in_a_second_than_the_rate(snapshot: Path) -> None:
    began = time.monotonic()
    reader = WeightReader(snapshot, GIB, rate=4 * MIB)
    reader.thread.join(0.2)
    read = reader.read
    assert read <= 4 * MIB * (time.monotonic() - began) + CHUNK
    reader.stop()
    reader.thread.join(WITHIN)


def test_files_that_are_gone_are_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "none")
    for directory in (tmp_path, tmp_path / "none"):
        reader = WeightReader(directory, GIB)
        reader.thread.join(WITHIN)
        assert reader.read == 0


def reading_ahead(made: list[WeightReader], monkeypatch: pytest.MonkeyPatch) -> FakeLauncher:
    class Noted(WeightReader):
        def __init__(self, snapshot: Path, room: int) -> None:
            super().__init__(snapshot, room, rate=MIB)
            made.append(self)

    monkeypatch.setattr(read_ahead, "WeightReader", Noted)
    return FakeLauncher(FakeGauge())


@pytest.mark.parametrize("ends", ["ready", "fail", "cancel"])
async def test_reading_ends_with_the_start_however_it_ends(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    made: list[WeightReader] = []
    inner = reading_ahead(made, monkeypatch)
    launcher = ReadAhead(inner, lambda: GIB)
    start = asyncio.create_task(launcher.start(spec(), snapshot, ALLOTMENT))
    await settle()
    [reader] = made
    assert reader.thread.is_alive()
    act: dict[str, Callable[[], object]] = {
        "ready": inner.ready,
        "fail": inner.fail,
        "cancel": start.cancel,
    }
    act[ends]()
    if ends == "ready":
        await start
    else:
        with pytest.raises((EngineStartError, asyncio.CancelledError)):
            await start
    await asyncio.to_thread(reader.thread.join, WITHIN)
    assert not reader.thread.is_alive()


async def test_two_models_are_not_read_at_once(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[WeightReader] = []
    inner = reading_ahead(made, monkeypatch)
    launcher = ReadAhead(inner, lambda: GIB)
    starts = [
        asyncio.create_task(launcher.start(spec(name), snapshot, ALLOTMENT)) for name in "ab"
    ]
    await settle()
    first, second = made
    await asyncio.to_thread(first.thread.join, WITHIN)
    assert second.thread.is_alive()
    for start in starts:
        start.cancel()
    await asyncio.wait(starts)
    await asyncio.to_thread(second.thread.join, WITHIN)
