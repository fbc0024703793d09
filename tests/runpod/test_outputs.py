from __future__ import annotations

import itertools
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.runpod.outputs import MOST, answered, failed, streamed

EVENT = 'data: {"text": "straße €"}\n\n'.encode()


def test_an_answer_in_one_piece_is_given_as_the_object_that_it_is() -> None:
    assert answered(b'{"id": "1", "error": null}') == {"id": "1", "error": None}
    assert answered(b"[1, 2]") == [1, 2]
    assert answered(b"plain \xff") == "plain \ufffd"


@pytest.mark.parametrize("content", [b'{"a": [1, "secret"]}', b'[{"a": "secret"}]'])
def test_an_answer_is_posted_whole_but_does_not_show_itself_to_a_log(content: bytes) -> None:
    output = answered(content)
    assert json.dumps({"output": [output]}) == f'{{"output": [{content.decode()}]}}'
    assert "secret" not in f"{output} { {'output': output} }"


def test_a_failed_job_has_its_error_as_a_string() -> None:
    assert failed(b'{"error": {}}') == {"error": '{"error": {}}'}


def test_events_that_came_together_go_together() -> None:
    assert [*streamed(EVENT * 3)] == [EVENT.decode() * 3]
    assert [*streamed(b"")] == []


def test_a_long_stream_is_cut_between_events_only() -> None:
    sent = EVENT * (2 * MOST // len(EVENT))
    chunks = [*streamed(sent)]
    assert "".join(chunks).encode() == sent
    assert all(chunk.endswith("\n\n") and len(chunk.encode()) <= MOST for chunk in chunks)


@given(st.integers(0, 3), st.sampled_from(["€", "x", '"', "\\", "😀"]))
def test_no_chunk_is_over_the_limit_and_no_character_is_cut(
    offset: int, character: str
) -> None:
    event = ("data: " + "x" * offset + character * MOST + "\n\n").encode()
    chunks = [*streamed(event)]
    assert "".join(chunks).encode() == event
    assert all(len(json.dumps(one, ensure_ascii=False).encode()) < 10**6 for one in chunks)


def test_the_outputs_are_json() -> None:
    for output in (answered(b"{}"), failed(b"x"), *streamed(EVENT)):
        orjson.dumps(output)


def test_what_is_no_text_is_cut_all_the_same() -> None:
    chunks = list(itertools.islice(streamed(b"data: " + b"\x80" * 2 * MOST + b"\n\n"), 9))
    assert "".join(chunks) == "data: " + "\ufffd" * 2 * MOST + "\n\n"
