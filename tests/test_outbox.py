"""The writes of several tasks in one turn of the loop go out together, in order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.outbox import Outbox

Written = list[tuple[str, bytes]]


class Wire(asyncio.Transport):
    """`log`: of all wires, in order."""

    def __init__(self, name: str, log: Written) -> None:
        super().__init__()
        self.name, self.log, self.closing = name, log, False
        self.left = 0  # bytes that the other end has not read yet

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.log.append((self.name, bytes(data)))

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def log() -> Written:
    return []


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def test_a_write_that_no_other_follows_goes_out_at_once(outbox: Outbox, log: Written) -> None:
    outbox.write(Wire("a", log), b"1")
    assert log == [("a", b"1")]


def test_the_last_of_several_tasks_sends_what_all_have_written(log: Written) -> None:
    async def turn() -> None:
        outbox = Outbox()
        outbox.to_come = 3
        for name in "abc":
            assert not log
            outbox.to_come -= 1
            outbox.write(Wire(name, log), b"1")
        assert log == [("a", b"1"), ("b", b"1"), ("c", b"1")]

    asyncio.run(turn())


async def test_a_write_waits_one_turn_of_the_loop_at_most(outbox: Outbox, log: Written) -> None:
    outbox.to_come = 1  # and it never writes
    outbox.write(Wire("a", log), b"1")
    assert not log
    await asyncio.sleep(0)
    assert log == [("a", b"1")]


async def test_no_write_waits_for_hundreds_of_others(outbox: Outbox, log: Written) -> None:
    outbox.to_come = 1000
    for number in range(1, 201):
        outbox.write(Wire(str(number), log), b"1")
        assert number - len(log) < 64
    assert [name for name, _ in log] == [str(number) for number in range(1, len(log) + 1)]


async def test_nothing_is_written_to_a_connection_that_ended_meanwhile(
    outbox: Outbox, log: Written
) -> None:
    ended, open_ = Wire("ended", log), Wire("open", log)
    outbox.to_come = 1
    outbox.write(ended, b"1")
    outbox.write(open_, b"2")
    ended.closing = True
    outbox.flush()
    assert log == [("open", b"2")]


@pytest.mark.parametrize("why", ["long", "second", "behind"])
async def test_a_writer_learns_at_once_that_the_other_end_reads_too_slowly(
    outbox: Outbox, log: Written, why: str
) -> None:
    """Such a write does not wait for others, and earlier writes go out before it."""
    other, wire = Wire("other", log), Wire("wire", log)
    outbox.to_come = 1
    outbox.write(other, b"1")
    if why == "second":
        outbox.write(wire, b"1")
    wire.left = 1 if why == "behind" else 0
    data = bytes(1 << 15) if why == "long" else b"2"
    outbox.write(wire, data)
    assert log[0] == ("other", b"1")
    assert log[-1] == ("wire", data)


steps = st.one_of(
    st.just("a task gets ready"),
    st.just("a task runs"),
    st.just("a turn ends"),
    st.just("flush"),
    st.tuples(st.sampled_from("abc"), st.sampled_from([b"1", b"2", bytes(1 << 15)])),
)


@given(st.lists(steps, max_size=40))
def test_each_connection_gets_all_that_is_written_to_it_in_order(
    drawn: list[str | tuple[str, bytes]],
) -> None:
    log: Written = []

    async def play() -> Written:
        outbox, wires = Outbox(), {name: Wire(name, log) for name in "abc"}
        meant: Written = []
        for step in drawn:
            if step == "a task gets ready":
                outbox.to_come += 1
            elif step == "a task runs":
                outbox.to_come = max(0, outbox.to_come - 1)
            elif step == "a turn ends":
                await asyncio.sleep(0)
                assert len(log) == len(meant)
            elif step == "flush":
                outbox.flush()
            elif isinstance(step, tuple):
                meant.append(step)
                outbox.write(wires[step[0]], step[1])
        await asyncio.sleep(0)
        return meant

    assert asyncio.run(play()) == log
