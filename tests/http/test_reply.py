"""What a caller of a stream sees while a model loads, and if it fails after that."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from router.errors import EngineFailed
from router.requests.error_body import envelope, sse_error
from router.requests.response import Body, Head, Part, Progress, Request
from tests.http.test_server import DONE, EVENT, SSE, Answer, code_of, serving
from tests.pool.fakes import FakeClock

FETCHING = Progress("fetching", stream=True, done=50, total=200, seconds=30.0)


def waits(seconds: float, clock: FakeClock, *then: Part | Exception) -> Answer:
    async def answer(_: Request) -> AsyncGenerator[Part, None]:
        yield FETCHING
        clock.advance(seconds)
        yield FETCHING
        for part in then:
            if isinstance(part, Exception):
                raise part
            yield part

    return answer


async def test_who_waits_long_for_a_stream_is_told_for_what_in_comments() -> None:
    clock = FakeClock()
    answer = waits(10.0, clock, SSE, Body(EVENT + DONE))
    async with serving(answer, clock=clock) as running, running.post() as response:
        assert response.content_type == "text/event-stream"
        comment = b": fetching 25% of 200 bytes, about 30 s left\n\n"
        assert await response.read() == comment + EVENT + DONE


async def test_who_waits_briefly_gets_the_engines_own_status() -> None:
    clock = FakeClock()
    refusal = Head(400, {"Content-Type": "application/json"})
    answer = waits(9.0, clock, refusal, Body(b"{}"))
    async with serving(answer, clock=clock) as running, running.post() as response:
        assert response.status == 400
        assert await response.read() == b"{}"


async def test_a_caller_without_a_stream_is_not_sent_comments() -> None:
    clock = FakeClock()

    async def answer(_: Request) -> AsyncGenerator[Part, None]:
        clock.advance(60)
        yield Progress("starting", stream=False)
        raise EngineFailed("it died")

    async with serving(answer, clock=clock) as running, running.post() as response:
        assert response.status == 502
        assert await code_of(response) == "engine_failed"


@pytest.mark.parametrize("begun", [(), (SSE, Body(EVENT))])
async def test_a_failure_after_comments_is_told_in_the_stream(begun: tuple[Part, ...]) -> None:
    clock, error = FakeClock(), EngineFailed("it died")
    answer = waits(10.0, clock, *begun, error)
    async with serving(answer, clock=clock) as running, running.post() as response:
        assert response.status == 200
        assert (await response.read()).endswith(sse_error(error))


async def test_an_engines_refusal_after_comments_is_an_event_like_any_error() -> None:
    clock, error = FakeClock(), EngineFailed("too long")
    head = Head(400, {"Content-Type": "application/json"})
    answer = waits(10.0, clock, head, Body(envelope(error)))
    async with serving(answer, clock=clock) as running, running.post() as response:
        assert (await response.read()).endswith(sse_error(error))
