from __future__ import annotations

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.errors import EngineFailed
from router.requests.error_body import envelope, sse_error
from router.requests.response import Body, Head, Progress
from router.runpod.outputs import MOST, JobReply, Output

STREAM = Head(200, {"Content-Type": "text/event-stream; charset=utf-8"})
JSON = Head(200, {"content-type": "application/json"})
ERROR = EngineFailed("it died")
EVENT = 'data: {"text": "straße €"}\n\n'.encode()


def outputs(head: Head, *chunks: bytes) -> list[Output]:
    reply = JobReply()
    reply.take(head)
    made: list[Output] = []
    for chunk in chunks:
        reply.take(Body(chunk))
        made += reply.ready()
    return [*made, *reply.end()]


def test_an_answer_in_one_piece_is_given_once_as_the_object_that_it_is() -> None:
    assert outputs(JSON, b'{"id": "1", ', b'"error": null}') == [{"id": "1", "error": None}]
    assert outputs(JSON, b"[1, 2]") == [[1, 2]]


def test_an_engines_refusal_fails_the_job_with_the_envelope_as_a_string() -> None:
    refused = Head(400, {"content-type": "application/json"})
    (output,) = outputs(refused, envelope(ERROR))
    assert isinstance(output, dict)
    assert output == {"error": envelope(ERROR).decode()}


def test_a_stream_is_cut_between_events_only() -> None:
    assert outputs(STREAM, EVENT + EVENT[:9], EVENT[9:], EVENT) == [
        EVENT.decode(),
        EVENT.decode(),
        EVENT.decode(),
    ]


def test_events_that_came_together_go_together() -> None:
    assert outputs(STREAM, EVENT * 3) == [EVENT.decode() * 3]


def test_a_failure_before_anything_was_said_fails_the_job() -> None:
    assert [*JobReply().failure(ERROR)] == [{"error": envelope(ERROR).decode()}]


def test_a_failure_in_mid_stream_is_an_event_of_its_own() -> None:
    reply = JobReply()
    reply.take(STREAM)
    reply.take(Body(EVENT))
    assert [*reply.ready()] == [EVENT.decode()]
    assert [*reply.failure(ERROR)] == [sse_error(ERROR).decode()]


def test_what_came_before_a_failure_is_told_and_half_an_event_dropped() -> None:
    reply = JobReply()
    reply.take(STREAM)
    reply.take(Body(EVENT))
    assert [*reply.ready()] == [EVENT.decode()]
    reply.take(Body(EVENT * (2 * MOST // len(EVENT)) + b"data: half"))
    *before, last = reply.failure(ERROR)
    assert "".join(map(str, before)).encode() == EVENT * (2 * MOST // len(EVENT))
    assert all(isinstance(output, str) and len(output) <= MOST for output in before)
    assert last == sse_error(ERROR).decode()


def test_after_a_comment_errors_are_events() -> None:
    reply = JobReply()
    assert reply.comment(Progress("starting", stream=True)) == ": starting\n\n"
    assert [*reply.failure(ERROR)] == [sse_error(ERROR).decode()]
    reply.take(Head(400, {}))
    reply.take(Body(envelope(ERROR)))
    assert [*reply.ready()] == []
    assert [*reply.end()] == [sse_error(ERROR).decode()]


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
        min_size=1,
    ),
    st.data(),
)
def test_however_the_bytes_arrive_the_events_are_whole_and_all_there(
    texts: list[str], data: st.DataObject
) -> None:
    sent = "".join(f"data: {text}\n\n" for text in texts).encode()
    chunks = []
    left = sent
    while left:
        size = data.draw(st.integers(1, len(left)))
        chunks.append(left[:size])
        left = left[size:]
    made = outputs(STREAM, *chunks)
    assert all(isinstance(output, str) and output.endswith("\n\n") for output in made)
    assert "".join(map(str, made)).encode() == sent


@given(st.integers(0, 3), st.sampled_from(["€", "x", '"', "\\", "😀"]))
def test_no_chunk_is_over_the_limit_and_no_character_is_cut(
    offset: int, character: str
) -> None:
    event = ("data: " + "x" * offset + character * MOST + "\n\n").encode()
    made = outputs(STREAM, event)
    assert "".join(map(str, made)).encode() == event
    assert all(len(json.dumps(output, ensure_ascii=False).encode()) < 10**6 for output in made)


def test_the_output_is_json() -> None:
    for output in (*outputs(JSON, b"{}"), *outputs(STREAM, EVENT)):
        orjson.dumps(output)
