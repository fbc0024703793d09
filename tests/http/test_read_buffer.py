"""Received bytes are used in order, and not copied for each use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.http.read_buffer import ReadBuffer


class Source:
    def __init__(self) -> None:
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


@given(st.lists(st.binary(min_size=1, max_size=9) | st.integers(0, 20), max_size=200))
def test_bytes_are_used_in_the_order_in_which_they_came(steps: list[bytes | int]) -> None:
    buffer, sent = ReadBuffer(Source()), b""
    for step in steps:
        if isinstance(step, bytes):
            buffer.add(step)
            sent += step
        else:
            assert buffer.take(step) == sent[:step]
            sent = sent[step:]
        assert buffer.size == len(sent)
    data, at = buffer.look()
    assert data[at:] == sent


def test_what_follows_is_not_copied_for_each_use() -> None:
    buffer = ReadBuffer(Source())
    buffer.add(b"ab" * 1000)
    data, _ = buffer.look()
    for used in range(1000):
        assert buffer.look() == (data, 2 * used)
        assert buffer.look()[0] is data
        buffer.skip(2)
    assert buffer.look() == (b"", 0)


def test_no_more_is_read_beyond_a_bound_until_most_is_used() -> None:
    source = Source()
    buffer, reads = ReadBuffer(source), []
    for _ in range(2):
        buffer.add(b" " * 100_000)
        reads.append(source.reads)
    for used in (0, 100_000):
        buffer.skip(used)
        reads.append(source.reads)
    assert reads == [True, False, False, True]
