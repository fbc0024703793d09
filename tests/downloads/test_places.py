from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from router.downloads.places import PATIENCE, SLOWEST, Place, Places
from tests.pool.fakes import FakeClock, settle


class House:
    """Two places. Downloads start and end when a test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.places = Places(2, clock=self.clock)
        self.running: dict[str, Place] = {}  # by name, in starting order
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, *callers: str | None, turn: int = 0) -> set[str | None]:
        """Ask for a place. Returns the waiting callers, which a test can change."""
        waiting = set(callers)
        self._ends[name] = asyncio.Event()

        async def run() -> None:
            async with self.places.place(lambda: waiting, turn) as place:
                self.running[name] = place
                await self._ends[name].wait()
                del self.running[name]

        self._tasks[name] = asyncio.create_task(run())
        await settle()
        return waiting

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def end_as_another_is_cancelled(self, name: str, other: str) -> None:
        self._ends[name].set()
        self._tasks[other].cancel()  # its task continues after that of `name`
        await self._tasks[name]
        await settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self._tasks[name]
        self.running.pop(name, None)
        await settle()

    def over(self) -> list[str]:
        """The downloads that must make room."""
        return [name for name, place in self.running.items() if place.is_over()]

    async def close(self) -> None:
        for name in tuple(self._tasks):
            await self.cancel(name)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        house = House()
        stack.push_async_callback(house.close)
        yield house


async def test_no_more_than_the_limit_run_at_once(house: House) -> None:
    for number in range(5):
        await house.ask(str(number), "ann")
    assert list(house.running) == ["0", "1"]
    assert house.places.full
    await house.end("0")
    assert list(house.running) == ["1", "2"]


async def test_the_next_is_of_the_caller_with_the_fewest_then_the_oldest(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    for name, caller in (("ann 2", "ann"), ("bob 2", "bob"), ("cid 1", "cid")):
        await house.ask(name, caller)
    await house.end("bob 1")
    assert list(house.running) == ["ann 1", "bob 2"]
    await house.end("bob 2")
    assert list(house.running) == ["ann 1", "cid 1"]
    await house.end("cid 1")
    assert list(house.running) == ["ann 1", "ann 2"]


async def test_the_operators_go_first_and_those_nobody_waits_for_last(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    left = await house.ask("left", "cid")
    left.clear()
    await house.ask("ann 2", "ann")
    await house.ask("operator's", None)
    await house.end("bob 1")
    assert list(house.running) == ["ann 1", "operator's"]
    await house.end("operator's")
    assert list(house.running) == ["ann 1", "ann 2"]
    await house.end("ann 2")
    assert list(house.running) == ["ann 1", "left"]


async def test_a_download_that_another_caller_joins_is_that_callers_too(house: House) -> None:
    await house.ask("bob 1", "bob")
    await house.ask("eve 1", "eve")
    popular = None
    for number in range(5):
        popular = await house.ask(f"eve's {number}", "eve")
    assert popular is not None
    popular.add("ann")
    await house.end("bob 1")
    assert list(house.running) == ["eve 1", "eve's 4"]


async def test_a_cancelled_wait_loses_no_place(house: House) -> None:
    for name in ("1", "2", "3", "4"):
        await house.ask(name, "ann")
    await house.cancel("3")
    await house.end("1")
    assert list(house.running) == ["2", "4"]


async def test_a_place_that_was_handed_to_a_cancelled_wait_goes_on(house: House) -> None:
    for name in ("1", "2", "3", "4"):
        await house.ask(name, "ann")
    house._ends["1"].set()
    await asyncio.sleep(0)  # "1" has left, but "3" does not know yet
    await house.cancel("3")
    assert list(house.running) == ["2", "4"]


async def test_who_has_all_places_makes_room_for_who_has_none(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("ann 2", "ann")
    assert house.over() == []
    await house.ask("ann 3", "ann")
    assert house.over() == []
    await house.ask("bob 1", "bob")
    assert house.over() == ["ann 2"]  # the newer one has less to lose
    await house.end("ann 2")
    assert list(house.running) == ["ann 1", "bob 1"]
    assert house.over() == []


async def test_one_at_a_time_makes_room(house: House) -> None:
    house.clock.advance(0)
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    await house.ask("cid 1", "cid")
    house.clock.advance(PATIENCE)
    assert house.over() == ["ann 1"]


async def test_a_slow_download_makes_room_for_another_callers(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    for name, rate in (("ann 1", SLOWEST), ("bob 1", SLOWEST - 1)):
        house.running[name].note(10**12)
        house.running[name].note(10**12 + int(rate * PATIENCE))
    await house.ask("ann 2", "ann")
    house.clock.advance(PATIENCE - 1)
    assert house.over() == []
    house.clock.advance(1)
    assert house.over() == ["bob 1"]


async def test_a_slow_download_makes_no_room_for_its_own_caller(house: House) -> None:
    for name in ("1", "2", "3"):
        await house.ask(name, "ann")
    house.clock.advance(10 * PATIENCE)
    assert house.over() == []


async def test_a_download_that_becomes_slow_is_noticed(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    for place in house.running.values():
        place.note(0)
        place.note(10**10)
    assert house.over() == []
    house.clock.advance(PATIENCE)
    assert house.over() == []
    await house.ask("cid 1", "cid")
    house.clock.advance(PATIENCE)
    assert house.over() == ["ann 1"]


async def test_each_turn_is_twice_as_long_as_the_last(house: House) -> None:
    await house.ask("ann 1", "ann", turn=1)
    await house.ask("bob 1", "bob", turn=3)
    await house.ask("cid 1", "cid")
    house.clock.advance(2 * PATIENCE - 1)
    assert house.over() == []
    house.clock.advance(1)
    assert house.over() == ["ann 1"]


async def test_a_download_that_nobody_waits_for_makes_room_at_once(house: House) -> None:
    waiting = await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    waiting.clear()
    assert house.over() == []
    await house.ask("ann 2", "ann")
    assert house.over() == ["ann 1"]


async def test_an_operators_download_has_a_strangers_place(house: House) -> None:
    await house.ask("ann 1", "ann")
    await house.ask("bob 1", "bob")
    await house.ask("operator's", None)
    assert house.over() == ["ann 1"]
    await house.end("ann 1")
    assert list(house.running) == ["bob 1", "operator's"]


async def test_a_download_that_is_cancelled_as_its_turn_comes_harms_no_other(
    house: House,
) -> None:
    for name in "abcd":
        await house.ask(name, name)
    await house.end_as_another_is_cancelled("a", "c")
    assert list(house.running) == ["b", "d"]
