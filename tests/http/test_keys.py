"""Keys with names and rates, over HTTP."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator

import pytest
from aiohttp import ClientResponse

from router.access.keyring import Keyring
from router.config.caller_keys import CallerKey, sha256_of
from tests.fake_service import SSE, Head, says
from tests.http.test_server import Running, serving

KEY = secrets.token_hex(16)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def key(**limits: int) -> CallerKey:
    return CallerKey(name="billing", sha256=sha256_of(KEY), **limits)  # type: ignore[arg-type]


async def ask(running: Running) -> ClientResponse:
    async with running.post(headers={"Authorization": f"Bearer {KEY}"}) as response:
        await response.read()
        return response


async def test_the_log_and_the_activity_name_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(keys=Keyring((), [key()])) as running:
        assert (await ask(running)).status == 200
    (line,) = [record.getMessage() for record in caplog.records]
    assert ", caller billing, id " in line
    assert KEY not in caplog.text


async def test_over_its_requests_a_caller_waits_as_long_as_it_is_told() -> None:
    time = Time()
    async with serving(keys=Keyring((), [key(requests=4)], time)) as running:
        assert [(await ask(running)).status for _ in range(4)] == [200] * 4
        refused = await ask(running)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "15")
        time.now += 14.9
        assert (await ask(running)).status == 429
        time.now += 0.1
        assert (await ask(running)).status == 200
        assert len(running.service.seen) == 5


async def test_a_refusal_says_which_rate_it_is() -> None:
    async with serving(keys=Keyring((), [key(requests=1)], Time())) as running:
        await ask(running)
        async with running.post(headers={"x-api-key": KEY}) as response:
            error = (await response.json())["error"]
    assert error["code"] == "rate_limited"
    assert "requests_per_minute" in error["message"]


async def test_requests_that_end_make_room_for_others_however_they_end() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def answer(_: object) -> AsyncGenerator[Head, None]:
        begun.set()
        await goes_on.wait()
        yield Head(200)

    async with serving(answer, keys=Keyring((), [key(max_concurrency=1)])) as running:
        first = asyncio.create_task(ask(running))
        await begun.wait()
        refused = await ask(running)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        running.service.closed.clear()
        first.cancel()  # the caller leaves
        await running.service.closed.wait()
        goes_on.set()
        assert (await ask(running)).status == 200
        assert (await ask(running)).status == 200


@pytest.mark.parametrize("head", [None, SSE])
async def test_a_wrong_key_is_refused_and_costs_nothing(head: Head | None) -> None:
    keys = Keyring((), [key(requests=1)])
    async with serving(says(b"{}", head=head), keys=keys) as running:
        async with running.post(headers={"x-api-key": "wrong"}) as response:
            assert response.status == 401
        assert (await ask(running)).status == 200
