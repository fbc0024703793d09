"""A caller with constant refusals is refused at a limited rate."""

from __future__ import annotations

import asyncio

import pytest

from router.access.keyring import Keyring
from router.http.refusals import BURST, LONGEST, MOST_HELD, Refusals
from tests.http.test_server import Running, serving


async def refused(running: Running, times: int, **headers: str) -> list[int]:
    async def once() -> int:
        async with running.client.get("/v1/none", headers=headers) as response:
            return int(response.status)

    return await asyncio.gather(*(once() for _ in range(times)))


async def test_the_first_refusals_go_out_at_once_and_the_next_one_waits() -> None:
    refusals = Refusals()
    async with asyncio.timeout(1.0):
        for _ in range(int(BURST) + 1):
            await refusals.hold("a")
    waiting = asyncio.create_task(refusals.hold("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await refusals.hold("b")  # another caller's refusal goes out
    async with asyncio.timeout(5.0):
        await waiting


async def test_beyond_so_many_held_the_caller_is_hung_up_on() -> None:
    refusals = Refusals()
    held = [asyncio.create_task(refusals.hold("a")) for _ in range(int(BURST) + 2 + MOST_HELD)]
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await refusals.hold("a")
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    async with asyncio.timeout(LONGEST + 1.0):
        await refusals.hold("a")  # those that left make room


async def test_a_flood_without_a_key_does_not_delay_the_holder_of_a_key() -> None:
    async with serving(keys=Keyring(["right"])) as running:
        flood = asyncio.create_task(refused(running, int(BURST) + 5))
        good = {"Authorization": "Bearer right"}
        assert await refused(running, 3, **good) == [404] * 3
        assert await flood == [401] * (int(BURST) + 5)
