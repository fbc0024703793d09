"""Reading the output of engines."""

from __future__ import annotations

import asyncio
import os

from engines.output import OutputReader

PIPE = 60_000  # bytes that surely fit into a pipe


async def test_an_engine_that_prints_many_short_lines_lets_others_have_their_turn() -> None:
    lines: list[str] = []
    read, write = os.pipe()
    reader = OutputReader(read, lines.append)
    try:
        os.write(write, b"a\n" * (PIPE // 2))
        most, before = 0, 0
        while len(lines) < PIPE // 2:
            await asyncio.sleep(0)
            most, before = max(most, len(lines) - before), len(lines)
    finally:
        os.close(write)
        reader.close()
    assert most <= PIPE // 20


async def test_what_a_process_has_printed_at_its_end_is_read_at_once() -> None:
    lines: list[str] = []
    read, write = os.pipe()
    reader = OutputReader(read, lines.append)
    os.write(write, b"a\n" * (PIPE // 2))
    os.close(write)
    reader.drain()
    reader.close()
    assert len(lines) == PIPE // 2
