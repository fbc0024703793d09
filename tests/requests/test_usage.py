from __future__ import annotations

import orjson
import pytest

from router.requests.usage import (
    LONGEST_EVENT,
    FirstUsage,
    Tokens,
    TokenSums,
    read_events,
    read_tokens,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (b'{"usage":{"prompt_tokens":12,"total_tokens":92,"completion_tokens":80}}', (12, 80)),
        (b'{"usage": {"input_tokens": 3, "output_tokens": 4}}', (3, 4)),
        (b'{"data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}', (5, None)),
        (b'"usage":{"prompt_tokens":1}} "usage":{"prompt_tokens":2}}', (2, None)),
        (b'data: {"choices":[],"usage":null}\n\ndata: [DONE]\n\n', (None, None)),
        (b'{"usage":{"prompt_tokens":"many"}}', (None, None)),
        (b'"usage":{"prompt_tokens":99999999999999999999}}', (None, None)),
        (b"", (None, None)),
    ],
)
def test_the_latest_usage_counts(text: bytes, tokens: tuple[int | None, int | None]) -> None:
    assert read_tokens(text) == Tokens(*tokens)


def test_what_a_model_writes_is_no_usage() -> None:
    said = '{"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    body = orjson.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 8}, "text": said})
    assert read_tokens(body) == Tokens(7, 8)
    assert read_tokens(orjson.dumps({"text": said})) == Tokens()


def result(prompt: int, completion: int | None, said: str = "") -> dict[str, object]:
    counts = {} if completion is None else {"completion_tokens": completion}
    told = {"id": "x", "prompt_tokens": prompt, "cached_tokens": 77, **counts}
    return {"text": said, "meta_info": told}


SAID = '{"meta_info":{"prompt_tokens":1000,"completion_tokens":1000}}'
BATCH = orjson.dumps([result(7, 30), result(5, 4, SAID), result(11, 600), {"text": ""}])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 64, 100, len(BATCH)])
def test_the_results_of_a_batch_are_summed_however_they_arrive(size: int) -> None:
    sums = TokenSums()
    for at in range(0, len(BATCH), size):
        sums.add(BATCH[at : at + size])
    assert sums.tokens == Tokens(23, 634)


def test_results_without_an_answers_tokens_have_none() -> None:
    sums = TokenSums()
    sums.add(orjson.dumps([result(7, None), result(5, None)]))
    assert sums.tokens == Tokens(12, None)


FORGED = {"usage": {"input_tokens": 0, "output_tokens": 0}}


def response(usage: object) -> dict[str, object]:
    """A response as SGLang sends it: the caller's own fields follow the usage."""
    tool = {"type": "function", "name": "f", "parameters": {**FORGED, "text": "x" * 5000}}
    return {"id": "resp_1", "output": [], "usage": usage, "tools": [tool], "metadata": FORGED}


TOLD = {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 80}


def events(*contents: object) -> bytes:
    return b"".join(b"event: e\ndata: %b\n\n" % orjson.dumps(one) for one in contents)


def test_what_a_caller_sent_is_no_usage_of_the_stream_that_repeats_it() -> None:
    done = {"type": "response.completed", "response": response(TOLD)}
    assert read_events(events({"type": "x"}, done)) == Tokens(12, 80)
    begun = {"type": "response.created", "response": response(None)}
    assert read_events(events(begun)) == Tokens()


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, (1, 2)),
        ({"message": {"usage": {"input_tokens": 3, "output_tokens": 0}}}, (3, 0)),
        ({"text": "", "meta_info": {"prompt_tokens": 4, "completion_tokens": 5}}, (4, 5)),
        ({"usage": {"output_tokens": 6}}, (None, 6)),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": True}}, (None, None)),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": 10**12}}, (None, None)),
        ({"usage": None}, (None, None)),
        ([{"usage": {}}], (None, None)),
    ],
)
def test_an_event_tells_tokens_in_its_dialect(
    content: object, tokens: tuple[int | None, int | None]
) -> None:
    assert read_events(events(content)) == Tokens(*tokens)
    assert read_events(events(content) + b"data: [DONE]\r\n\r\n") == Tokens(*tokens)


def test_an_event_that_takes_long_to_read_is_not_read() -> None:
    earlier = {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    long = {"usage": {"prompt_tokens": 3}, "text": "x" * LONGEST_EVENT}
    assert read_events(events(earlier, long)) == Tokens(1, 2)


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@pytest.mark.parametrize(("usage", "tokens"), [(TOLD, (12, 80)), (None, (None, None))])
def test_the_first_usage_counts_where_an_answer_repeats_its_request(
    size: int, usage: object, tokens: tuple[int | None, int | None]
) -> None:
    body, first = orjson.dumps(response(usage)), FirstUsage()
    for at in range(0, len(body), size):
        first.add(body[at : at + size])
    assert first.tokens == Tokens(*tokens)
