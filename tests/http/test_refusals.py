"""A caller with constant refusals is refused at a limited rate."""

from __future__ import annotations

import asyncio

from router.access.keyring import Keyring
from router.http.refusals import BURST, LONGEST, MOST_HELD, RATE, Refusals
from tests.http.test_server import Running, serving
from tests.loop_clock import LoopClock


async def refused(running: Running, times: int, **headers: str) -> list[int]:
    async def once() -> int:
        async with running.client.get("/v1/none", headers=headers) as response:
            return int(response.status)

    return await asyncio.gather(*(once() for _ in range(times)))


async def turns() -> None:
    """Let everything happen that needs no time."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_refusals_go_out_at_once_and_the_next_one_waits() -> None:
    refusals, clock = Refusals(), LoopClock(0.0)
    first = [asyncio.create_task(refusals.hold("a")) for _ in range(int(BURST) + 1)]
    await turns()
    assert all(refusal.done() for refusal in first)
    waiting = asyncio.create_task(refusals.hold("a"))
    another = asyncio.create_task(refusals.hold("b"))
    await turns()
    assert another.done()
    assert not waiting.done()
    clock.advance(1 / RATE)
    await turns()
    assert waiting.done()


async def test_beyond_so_many_held_the_caller_is_hung_up_on() -> None:
    refusals, clock = Refusals(), LoopClock(0.0)
    for count in (int(BURST) + 1, MOST_HELD):
        held = [asyncio.create_task(refusals.hold("a")) for _ in range(count)]
        await turns()
    beyond = asyncio.create_task(refusals.hold("a"))
    await turns()
    assert isinstance(beyond.exception(), ConnectionResetError)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    late = asyncio.create_task(refusals.hold("a"))
    await turns()
    assert not late.done()  # those that left make room
    clock.advance(LONGEST)
    await turns()
    assert late.done()


async def test_a_flood_without_a_key_does_not_delay_the_holder_of_a_key() -> None:
    async with serving(keys=Keyring(["right"])) as running:
        flood = asyncio.create_task(refused(running, int(BURST) + 5))
        good = {"Authorization": "Bearer right"}
        assert await refused(running, 3, **good) == [404] * 3
        assert await flood == [401] * (int(BURST) + 5)
