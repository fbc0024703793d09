"""Only whole events are passed on, in whatever pieces the bytes arrive."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import EngineFailed
from router.local_paths import hide_paths
from router.requests import event_stream
from router.requests.dialects import OPENAI, RESPONSES, Problem
from router.requests.event_stream import EventStream, comment, split_events
from router.requests.usage import LONGEST_EVENT

EVENT = b'data: {"n": 1}\n\n'

lines = st.lists(
    st.binary(min_size=1, max_size=20).map(
        lambda b: b.replace(b"\n", b".").replace(b"\r", b".").replace(b'"', b".")
    ),
    max_size=6,
)


def stream() -> EventStream:
    return EventStream(OPENAI, hide_paths)


@given(lines, st.sampled_from([b"\n\n", b"\r\n\r\n"]), st.data())
def test_events_cut_anywhere_come_out_whole_and_in_order(
    contents: list[bytes], blank: bytes, data: st.DataObject
) -> None:
    sent = left = b"".join(line + blank for line in contents)
    events, out = stream(), []
    while left:
        size = data.draw(st.integers(1, len(left)))
        out.append(events.feed(left[:size]))
        left = left[size:]
    assert all(whole == b"" or whole.endswith(blank) for whole in out)
    assert b"".join(out) == sent
    assert events.end() == b""
    assert events.count == len(contents)
    assert sent.endswith(events.tail)


@given(st.binary())
def test_splitting_loses_no_byte(buffer: bytes) -> None:
    whole, rest = split_events(buffer)
    assert whole + rest == buffer
    assert split_events(rest) == (b"", rest)


def test_what_is_left_at_the_end_is_passed_on() -> None:
    events = stream()
    assert events.feed(EVENT + b"data: last") == EVENT
    assert events.end() == b"data: last"


@pytest.mark.parametrize(
    "pieces",
    [
        (EVENT, b"data: usage\n\n", b"data: [DONE]\n\n"),
        (EVENT + b"data: us", b"age\n\ndata: [DONE]\n\n"),
        (EVENT, b"data: usage\n\n" + b"data: [DONE]"),
    ],
)
def test_the_last_events_are_kept(pieces: tuple[bytes, ...]) -> None:
    events = stream()
    for piece in pieces:
        events.feed(piece)
    events.end()
    assert b"usage" in events.tail
    assert b"[DONE]" in events.tail


def test_of_events_too_long_to_be_read_the_ends_are_kept() -> None:
    events = stream()
    for _ in range(2):
        events.feed(b"data: " + b"x" * LONGEST_EVENT + b"end\n\n")
    assert events.tail.count(b"end") == 2
    assert len(events.tail) == 2 * LONGEST_EVENT


def test_half_an_event_is_dropped_by_a_failure() -> None:
    events, problem = stream(), Problem(502, "it died", "server_error")
    assert events.feed(EVENT + b"data: half") == EVENT
    assert events.fail(problem) == OPENAI.events(problem, 0)


@pytest.mark.parametrize(
    "content",
    [
        {"error": {"message": "no file /srv/models/x", "code": 400}},
        {"object": "error", "message": "no file /srv/models/x", "error": None, "code": 400},
        {"error": "no file /srv/models/x"},
        {"type": "error", "error": {"type": "api_error", "message": "no file /srv/models/x"}},
        {
            "type": "response.failed",
            "response": {"error": {"message": "no file /srv/models/x"}},
        },
    ],
)
@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n"])
def test_an_engines_error_inside_a_stream_loses_its_local_paths(
    content: dict[str, object], blank: bytes
) -> None:
    event = b"event: x" + blank[: len(blank) // 2] + b"data: " + orjson.dumps(content) + blank
    told = stream().feed(EVENT + event)
    assert told.startswith(EVENT)
    assert b"/srv" not in told
    assert b"no file <path>" in told
    assert told.endswith((b"\n\n", b"\n\r\n"))


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"text": "the \\"error\\" is in /srv/x"}\n\n',
        b'data: {"response": {"error": null, "path": "/srv/x"}}\n\n',
        b'data: {"choices": [{"delta": {"error": "/srv/x"}}]}\n\n',
        b'data: not JSON, "error"\n\n',
        b': "error"\n\n',
    ],
)
def test_what_only_mentions_an_error_stays_as_it_is(event: bytes) -> None:
    assert stream().feed(event) == event


@pytest.mark.parametrize(
    ("last", "number"),
    [
        (b'event: a\ndata: {"type": "a", "sequence_number": 41}\n\n', 42),
        (b'data: {"sequence_number": "x"}\n\n', 0),
        (b'data: {"sequence_number": 18446744073709551615}\n\n', 0),
        (b'data: {"sequence_number": -1}\n\n', 0),
        (b"data: [1]\n\n", 0),
        (b"data: broken\n\n", 0),
        (b": comment\n\n", 0),
    ],
)
def test_a_failure_takes_the_next_sequence_number(last: bytes, number: int) -> None:
    events = EventStream(RESPONSES, hide_paths)
    events.feed(last)
    told = events.fail(Problem(502, "it died", "server_error"))
    assert orjson.loads(told.split(b"data: ")[1])["sequence_number"] == number


def test_an_event_in_many_chunks_costs_no_more_than_its_bytes() -> None:
    """Scanning it again with each chunk would take minutes."""
    events, size = stream(), 1 << 20
    for _ in range(size // 8):
        assert events.feed(b"12345678") == b""
    assert len(events.feed(b"\n\n")) == size + 2


def test_a_comment_is_one_line_and_a_blank_one() -> None:
    assert comment("starting, about 3 s left") == b": starting, about 3 s left\n\n"


@pytest.mark.parametrize(
    "piece", [b"x" * 65536, b"data: x\n" * 8192], ids=["one line", "many lines"]
)
def test_an_event_without_an_end_ends_the_stream(piece: bytes) -> None:
    events, most = stream(), event_stream._LONGEST_EVENT
    for _ in range(most // len(piece)):
        assert events.feed(piece) == b""
    with pytest.raises(EngineFailed, match="too long"):
        events.feed(piece)


def test_a_long_event_that_tells_no_error_is_not_read() -> None:
    long = b'data: {"response": {"error":null}, "error": null, "text": "%s"}\n\n' % (
        b"x" * event_stream._LONGEST_ERROR
    )
    assert stream().feed(long) == long


def test_a_long_event_that_tells_an_error_is_not_passed_on() -> None:
    told = b"/root/model " * (event_stream._LONGEST_ERROR // 12 + 1)
    with pytest.raises(EngineFailed):
        stream().feed(b'data: {"error": {"message": "%s"}}\n\n' % told)
