"""The outcomes of requests over HTTP, according to their records."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import aiohttp
import pytest

from router.errors import EngineFailed, ModelLoading, ModelNotFound
from router.requests.activity import Activity
from router.requests.outcomes import Outcome
from router.requests.record import Record
from router.requests.recorder import Recorder
from tests.fake_service import EVENT, SSE, Answer, Head, fails, hangs, says
from tests.http.test_server import CHAT, Running, raw, serving


class Ended:
    """Waits for the record of a request that has ended."""

    def __init__(self) -> None:
        self._records: asyncio.Queue[Record] = asyncio.Queue()
        self.recorder = Recorder(Activity(), [self._records.put_nowait])

    async def next(self) -> Record:
        return await self._records.get()


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (says(b"{}"), Outcome.OK, 200),
        (fails(ModelNotFound("m")), "model_not_found", 404),
        (fails(ModelLoading("m", retry_after=1.0), SSE), "model_loading", 0),
        (fails(EngineFailed("m"), Head(200, {}), b"{"), "engine_failed", 0),
        (fails(ZeroDivisionError()), "internal_error", 500),
        (fails(ZeroDivisionError(), SSE, EVENT), "internal_error", 0),
    ],
)
async def test_each_end_has_a_word(answer: Answer, outcome: str, status: int) -> None:
    ended = Ended()
    async with serving(answer, recorder=ended.recorder) as running, running.post() as response:
        with suppress(aiohttp.ClientPayloadError):
            await response.read()
        record = await ended.next()
    assert (record.outcome, record.status, record.route) == (outcome, status, CHAT)
    assert not ended.recorder.activity.running


@pytest.mark.parametrize("answer", [hangs(), hangs(SSE, EVENT)], ids=["waiting", "in a stream"])
async def test_a_caller_that_leaves_is_told_as_such(answer: Answer) -> None:
    ended = Ended()
    async with serving(answer, recorder=ended.recorder) as running:
        asking = asyncio.create_task(_ask(running))
        await running.service.began.wait()
        assert len(ended.recorder.activity.running) == 1
        asking.cancel()
        record = await ended.next()
    assert (record.outcome, record.status) == (Outcome.CALLER_LEFT, 0)


async def _ask(running: Running) -> None:
    async with running.post() as response:
        await response.read()


async def test_a_worker_that_leaves_is_not_the_caller() -> None:
    ended = Ended()
    async with serving(hangs(), recorder=ended.recorder) as running:
        asking = asyncio.create_task(_ask(running))
        await running.service.began.wait()
        await running.server.stop(0.0)
        record = await ended.next()
        await asyncio.wait([asking])
        asking.exception()
    assert record.outcome == Outcome.SHUT_DOWN


async def test_probes_are_no_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ended = Ended()
    async with serving(recorder=ended.recorder) as running:
        async with running.client.get("/ping") as response:
            assert response.status == 200
        await _ask(running)
        record = await ended.next()
    assert list(ended.recorder.activity.ended) == [record]
    assert "/ping" not in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/chat/completions%0a2026-01-01%20forged HTTP/1.1",
        "GET /\u202eforged HTTP/1.1",
        "FORGED-METHOD /v1/models HTTP/1.1",
    ],
)
async def test_no_path_and_no_method_forges_a_line(
    head: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ended = Ended()
    async with serving(recorder=ended.recorder) as running:
        lines = f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await raw(running.port, lines.encode())
    assert "forged" not in caplog.text.lower()
