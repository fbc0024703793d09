from __future__ import annotations

import asyncio
import itertools
import json
import tracemalloc

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import AnswerTooLarge
from router.runpod.limits import Count, result_limit, result_size, size, text_size
from router.runpod.outputs import answered
from router.runpod.result import StreamedResult, WholeResult

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('a:,e"\\é你'), inner),
    max_leaves=30,
)


def posted(*outputs: object) -> int:
    """What the SDK sends."""
    return len(json.dumps({"output": [*outputs]}, ensure_ascii=False).encode())


def counted(content: bytes, step: int = 7) -> Count:
    count = Count()
    for start in range(0, len(content), step):
        count.add(content[start : start + step])
    return count


@pytest.mark.parametrize(
    ("job_id", "limit"),
    [
        ("sync-0eebceae-e1", 20_000_000),
        ("0eebceae-u1", 10_000_000),
        ("async-1", 10_000_000),
        (None, 10_000_000),
        (7, 10_000_000),
    ],
)
def test_the_id_tells_what_runpod_takes_and_the_least_holds_where_it_does_not(
    job_id: object, limit: int
) -> None:
    assert result_limit(job_id) == limit


@given(values)
def test_a_size_is_that_of_the_post(value: object) -> None:
    assert result_size([asyncio.run(size(value))]) == posted(value)


@given(values)
def test_no_answer_becomes_larger_than_its_count(value: object) -> None:
    content = orjson.dumps(value)
    count = counted(content)
    assert count.sent == len(content)
    assert result_size([count.at_most]) >= posted(answered(content))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_the_size_of_a_stream_is_that_of_its_result(chunks: list[str]) -> None:
    assert result_size(map(text_size, chunks)) == posted(*chunks)


async def test_an_answer_that_is_as_large_as_the_limit_is_posted() -> None:
    content = orjson.dumps({"text": "e" * 100, "e": [1e15, 1.5, "你"]})
    limit = posted(orjson.loads(content))
    fits, over = WholeResult(limit, CHAT), WholeResult(limit - 1, CHAT)
    fits.add(content)
    over.add(content)
    assert await fits.output() == orjson.loads(content)
    with pytest.raises(AnswerTooLarge, match=f"{limit} bytes of JSON"):
        await over.output()


@pytest.mark.parametrize("letter", ['"', "\x01", "x"])
async def test_an_answer_that_is_no_json_is_measured_as_text(letter: str) -> None:
    text = "no JSON" + letter * 50
    fits, over = WholeResult(posted(text), CHAT), WholeResult(posted(text) - 1, CHAT)
    fits.add(text.encode())
    over.add(text.encode())
    assert await fits.output() == text
    with pytest.raises(AnswerTooLarge):
        await over.output()


async def test_what_is_too_large_is_counted_to_its_end() -> None:
    result = WholeResult(1000, EMBEDDINGS)
    for _ in itertools.repeat(None, 5000):
        result.add(b"[0.25],")
    with pytest.raises(AnswerTooLarge, match=r"35,014 bytes .* takes 1,000 .*base64"):
        await result.output()


async def test_an_engines_error_that_is_too_large_is_none_either() -> None:
    result = WholeResult(1000, "/v1/rerank")
    result.add(b"x" * 2000)
    with pytest.raises(AnswerTooLarge, match=r"Ask for less in a request\.$"):
        result.refusal()


async def test_a_measured_answer_leaves_the_loop_free() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        for ticks in range(1, 51):  # noqa: B007 - counted
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await size([0.5] * 100_000)
        assert ticks == 50


def test_a_stream_over_the_limit_has_both_sizes() -> None:
    stream = StreamedResult(posted("a\n\n", "b\n\n"))
    for chunk in ("a\n\n", "b\n\n"):
        stream.add(chunk)
        stream.check()
    stream.add("")
    with pytest.raises(AnswerTooLarge, match=r"has 34 .* takes 30 "):
        stream.check()


def test_of_an_answer_that_is_too_large_nothing_is_kept() -> None:
    result = WholeResult(1000, CHAT)
    tracemalloc.start()
    try:
        for _ in range(64):
            result.add(bytes(65536))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 65536
