from __future__ import annotations

import asyncio

import pytest

from router.ray.window import WINDOW, ReadCount, SendWindow, SendWindows

PIECE = bytes(64 * 1024)


async def send(window: SendWindow, sent: list[bytes], piece: bytes = PIECE) -> None:
    for _ in range(5000):
        await window.room(piece)
        sent.append(piece)


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("piece", [PIECE, b"x"], ids=["large", "tiny"])
async def test_a_replica_sends_no_more_than_a_window_ahead(piece: bytes) -> None:
    sent = list[bytes]()
    sending = asyncio.create_task(send(SendWindow(), sent, piece))
    await _turns()
    assert 0 < sum(map(len, sent)) <= WINDOW + len(piece)
    assert len(sent) <= 1024
    sending.cancel()


async def test_what_is_read_makes_room() -> None:
    windows, reads, sent = SendWindows(), ReadCount(), list[bytes]()
    with windows.open("answer") as window:
        sending = asyncio.create_task(send(window, sent))
        await _turns()
        first = len(sent)
        for piece in sent[:]:
            reads.take(piece)
        assert reads.due
        windows.took("another", reads.taken)
        await _turns()
        assert len(sent) == first
        windows.took("answer", reads.taken)
        await _turns()
        assert len(sent) == 2 * first
        windows.took("answer", 1)  # late
        await _turns()
        assert len(sent) == 2 * first
        sending.cancel()
    windows.took("answer", reads.taken)  # it is over


async def test_a_reader_tells_often_enough_to_keep_an_answer_going() -> None:
    window, reads = SendWindow(), ReadCount()
    for _ in range(3000):
        async with asyncio.timeout(60.0):
            await window.room(b"data: a token\n\n")
        reads.take(b"data: a token\n\n")
        if reads.due:
            reads.told = reads.taken
            window.took(reads.taken)


async def test_a_short_answer_needs_no_word() -> None:
    reads = ReadCount()
    for _ in range(100):
        reads.take(b"data: a token\n\n")
    assert not reads.due
