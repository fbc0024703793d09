"""The operator's view of a pool that is built on fakes."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest

from router.admin.admin import MOST_LISTENERS, EventPace
from router.admin.disk_meter import OLD
from router.admin.listener import MOST
from router.errors import EngineFailed, InvalidRequest, ModelNotFound, QueueFull
from router.scheduler import events
from router.secrets import Secret
from tests.admin.harness import WALL, AdminHarness
from tests.pool.fakes import GIB, settle, spec
from tests.pool.harness import PoolHarness, pool_harness

A, B = spec("a", memory=GIB, listed=True), spec("b", memory=GIB)
SECRET = secrets.token_hex(16)


@pytest.fixture
async def pool() -> AsyncIterator[PoolHarness]:
    async with AsyncExitStack() as stack:
        yield pool_harness(stack, max_loaded=8)


@pytest.fixture
def admin(pool: PoolHarness) -> AdminHarness:
    return AdminHarness(pool, Secret(SECRET))


async def test_times_are_seconds_since_1970_by_the_machines_clock(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.clock.advance(5)
    pool.instant().call(A)
    await settle()
    pool.clock.advance(7)
    state = await admin.state()
    assert (state["now"], state["worker"]["started_at"]) == (WALL + 12, WALL)
    (engine,) = state["engines"]
    assert (engine["since"], engine["last_used"]) == (WALL + 5, WALL + 5)


async def test_an_operators_model_has_its_names_and_a_callers_has_none(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.instant().call(A)
    pool.call(B)
    await settle()
    names = {one["model"]: one["names"] for one in (await admin.state())["engines"]}
    assert names == {"org/a": ["first"], "org/b": []}


async def test_a_download_shows_its_bytes_and_its_rate(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.call(A)
    await settle()
    pool.clock.advance(10)
    pool.downloader.tell("a", 41, 101)
    (engine,) = (await admin.state())["engines"]
    assert engine["state"] == "fetching"
    assert engine["download"] == {
        "done_bytes": 41,
        "total_bytes": 101,
        "bytes_per_second": 4.0,
        "seconds": 15.0,
        "queued": False,
    }
    assert engine["waiting"]["reason"] == "fetching"


async def test_the_text_of_a_failure_holds_no_secret(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.downloader.instant = True
    pool.call(A)
    await settle()
    generation = pool.scheduler.slots[A.key].generation
    reason = f"no such option: {SECRET}"
    pool.pool._feed(events.StartFailed(A.key, generation, reason, out_of_memory=False))
    await settle()
    (engine,) = (await admin.state())["engines"]
    assert engine["last_failure"]["text"] == "no such option: ***"


async def test_the_disk_is_measured_now_and_then(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    assert (await admin.state())["disk"] == {
        "used_bytes": 10,
        "budget_bytes": None,
        "free_bytes": 90,
        "reserve_bytes": 5,
    }
    await admin.state()
    assert admin.measured == 1
    pool.clock.advance(OLD)
    await admin.state()
    assert admin.measured == 2


async def test_a_listener_gets_a_state_and_then_what_happens_and_the_state_after_it(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    async with admin.listening() as listener:
        name, first = await listener.next()
        assert (name, first["engines"]) == ("state", [])
        pool.instant().call(A)
        await settle()
        *lines, (_, state) = await listener.until("state")
        assert [(line["what"], line["id"][:5]) for _, line in lines] == [
            ("downloading", "org/a"),
            ("downloaded", "org/a"),
            ("starting", "org/a"),
            ("ready", "org/a"),
        ]
        assert state["engines"][0]["state"] == "ready"


async def test_a_listener_without_news_gets_comments(pool: PoolHarness) -> None:
    quiet = AdminHarness(pool, Secret(SECRET), EventPace(gap=0.0, quiet=0.0))
    async with quiet.listening() as listener:
        assert (await listener.next())[0] == "state"
        assert (await listener.next())[0] == ""
        assert (await listener.next())[0] == ""


async def test_while_a_model_is_loaded_states_come_without_news(pool: PoolHarness) -> None:
    admin = AdminHarness(pool, Secret(SECRET), EventPace(gap=0.0, refresh=0.0))
    pool.call(A)
    await settle()
    async with admin.listening() as listener:
        await listener.next()
        pool.downloader.tell("a", 2, 2)
        _, state = await listener.next()
        assert state["engines"][0]["download"]["done_bytes"] == 2


async def test_a_listener_that_reads_too_slowly_is_dropped(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    async with aclosing(admin.admin.events()) as slow:
        await anext(slow)
        for _ in range(MOST + 1):
            pool.pool._feed(events.Thawed())
        with pytest.raises(StopAsyncIteration):
            await anext(slow)


async def test_listeners_are_few_and_one_that_leaves_makes_room(admin: AdminHarness) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MOST_LISTENERS):
            await (await stack.enter_async_context(admin.listening())).next()
        async with admin.listening() as one_more:
            with pytest.raises(QueueFull):
                await one_more.next()
    async with admin.listening() as listener:
        await listener.next()


async def test_without_listeners_the_pool_tells_nobody(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    async with admin.listening() as listener:
        await listener.next()
        assert pool.pool._passes._watchers
    assert not pool.pool._passes._watchers


async def test_a_listener_hears_the_end_of_the_worker(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    async with admin.listening() as listener:
        await listener.next()
        waiting = asyncio.ensure_future(listener.next())
        await settle()
        await admin.admin.close()
        assert (await waiting)[0] == "state"
        with pytest.raises(StopAsyncIteration):
            await listener.next()


# What the operator has done


def ids(answer: bytes) -> list[str]:
    return [one.partition("@")[0] for one in json.loads(answer)["ids"]]


async def test_a_name_means_all_engines_of_a_model_and_an_alias_the_operators_own(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.instant()
    for one in (A, spec("a", memory=GIB), B):
        await pool.call(one).end()
        await settle()
    assert len(json.loads(admin.admin.pin("ORG/a"))["ids"]) == 1  # one commit
    assert len(json.loads(admin.admin.pin("org/a"))["engines"]) == 2
    assert [one["listed"] for one in json.loads(admin.admin.pin("first"))["engines"]] == [True]
    assert ids(admin.admin.pin(f"org/b@{'c' * 40}")) == ["org/b"]
    assert ids(admin.admin.pin("org/b@ccccccc")) == ["org/b"]
    for unknown in ("org/c", "org/b@ccc", "org/b@main", "org", ""):
        with pytest.raises(ModelNotFound):
            admin.admin.unload(unknown)


async def test_an_unloaded_engine_is_shown_as_it_goes_and_then_no_more(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.instant()
    busy = pool.call(A)
    await settle()
    (engine,) = json.loads(admin.admin.unload("org/a"))["engines"]
    assert (engine["state"], engine["unloading"]) == ("draining", True)
    await busy.end()
    await settle()
    assert (await admin.state())["engines"] == []


async def test_only_an_engine_that_is_up_or_comes_can_be_pinned(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.call(A)
    await settle()
    with pytest.raises(InvalidRequest, match="load it first"):
        admin.admin.pin("org/a")
    pool.downloader.finish("a")
    await settle()
    (engine,) = json.loads(admin.admin.pin("org/a"))["engines"]
    assert (engine["pinned"], engine["pinned_by_file"]) == (True, False)
    (engine,) = json.loads(admin.admin.unpin("org/a"))["engines"]
    assert not engine["pinned"]


async def test_what_the_models_file_pins_is_not_unpinned(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.instant().call(spec("a", memory=GIB, pinned=True))
    await settle()
    with pytest.raises(InvalidRequest, match="MODELS_CONFIG"):
        admin.admin.unpin("org/a")


async def test_a_load_is_under_way_when_the_answer_comes_and_goes_on_without_anybody(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    (engine,) = json.loads(await admin.admin.load("b", wait=False))["engines"]
    assert (engine["state"], engine["waiting"]["requests"]) == ("fetching", 1)
    assert engine["waiting"]["callers"] == [{"caller": None, "requests": 1}]
    again = json.loads(await admin.admin.load("b", wait=False))["engines"]
    assert again[0]["waiting"]["requests"] == 1
    pool.downloader.finish("b")
    await settle()
    pool.launcher.ready("b")
    await settle()
    (engine,) = (await admin.state())["engines"]
    assert (engine["state"], engine["in_flight"]["requests"]) == ("ready", 0)


async def test_a_load_that_is_waited_for_ends_with_the_engine_or_with_its_error(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    pool.instant()
    (engine,) = json.loads(await admin.admin.load("a", wait=True))["engines"]
    assert engine["state"] == "ready"
    admin.refusals["b"] = ModelNotFound("no such model")
    for wait in (True, False):
        with pytest.raises(ModelNotFound):
            await admin.admin.load("b", wait=wait)
    pool.launcher.instant = False
    load = asyncio.ensure_future(admin.admin.load("c", wait=True))
    await settle()
    pool.launcher.fail("c", told="it is too new")
    with pytest.raises(EngineFailed, match="it is too new"):
        await load


async def test_a_load_goes_on_when_the_one_that_waits_for_it_leaves(
    pool: PoolHarness, admin: AdminHarness
) -> None:
    waiting = asyncio.ensure_future(admin.admin.load("a", wait=True))
    await settle()
    waiting.cancel()
    await settle()
    (engine,) = (await admin.state())["engines"]
    assert engine["waiting"]["requests"] == 1
    await admin.admin.close()
    (engine,) = (await admin.state())["engines"]
    assert engine["waiting"]["requests"] == 0


async def test_a_drain_is_told_to_the_worker(admin: AdminHarness) -> None:
    admin.admin.drain()
    assert admin.left


def test_states_that_take_long_come_less_often_the_more_listeners_there_are() -> None:
    pace = EventPace(gap=0.25, refresh=2.0, share=0.1)
    assert pace.pause(0.001, listeners=1) == 0.25
    assert pace.pause(0.05, listeners=1) == pytest.approx(0.5)
    assert pace.pause(0.05, listeners=8) == 2.0
