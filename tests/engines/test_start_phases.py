"""The durations that an engine reports for its start, however they look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from engines.start_phases import phases_in, start_phases

TOLD = {"startup_time": {"load_weight": 2.5, "kv_cache_allocation": 1, "scheduler_e2e": 9.0}}


@asynccontextmanager
async def engine(answer: Callable[[], web.Response]) -> AsyncIterator[str]:
    async def serve(_: web.Request) -> web.Response:
        return answer()

    application = web.Application()
    application.router.add_get("/server_info", serve)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_they_are_read_as_sglang_tells_them() -> None:
    async with (
        engine(lambda: web.json_response(TOLD)) as url,
        aiohttp.ClientSession() as session,
    ):
        assert await start_phases(session, url, {}) == {
            "load_weight": 2.5,
            "kv_cache_allocation": 1.0,
        }


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=404),
        lambda: web.json_response(TOLD, status=500),
        lambda: web.Response(text="no JSON"),
        lambda: web.Response(body=b"\xff"),
        lambda: web.Response(text="[" * 100_000),
        lambda: web.json_response(TOLD | {"more": "x" * (1 << 20)}),
    ],
    ids=["unknown", "error", "text", "bytes", "nested", "much"],
)
async def test_another_answer_is_no_answer(answer: Callable[[], web.Response]) -> None:
    async with engine(answer) as url, aiohttp.ClientSession() as session:
        assert await start_phases(session, url, {}) == {}


async def test_neither_is_none() -> None:
    async with engine(web.Response) as url:
        pass
    async with aiohttp.ClientSession() as session:
        assert await start_phases(session, url, {}) == {}


@pytest.mark.parametrize(
    "info",
    [
        None,
        [],
        {},
        {"startup_time": None},
        {"startup_time": {"load_weight": "long"}},
        {"startup_time": {"load_weight": True}},
        {"startup_time": {"load_weight": float("nan")}},
        {"startup_time": {"load_weight": -1.0}},
        {"startup_time": {"load_weight": 10**400}},
        {"startup_time": {"cuda_graph": {"prefill": 1e308, "decode": 1e308}}},
        {"startup_time": {"load_weight": 0, "cuda_graph": {"decode": 0.0}}},
    ],
)
def test_what_is_no_time_is_left_out(info: object) -> None:
    assert phases_in(info) == {}


def test_graphs_count_together() -> None:
    told = {"cuda_graph": {"prefill": 0.5, "decode": 1.5}}
    assert phases_in({"startup_time": told}) == {"cuda_graph": 2.0}
