"""What engines print, as it comes."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing

import orjson
import pytest

from router.admin.last_hour import LastHour
from router.admin.names import Names
from router.admin.past import MOST_READERS, Past
from router.admin.recent import RecentRequests
from router.admin.state import StateWriter
from router.config.catalog import Catalog
from router.errors import QueueFull
from router.pool.engine_log import EngineLog
from router.requests.activity import Activity


def unchanged(text: str) -> str:
    return text


def past(log: EngineLog, quiet: float = 30.0) -> Past:
    names = Names(Catalog(()))
    return Past(
        LastHour(),
        StateWriter(names, unchanged),
        RecentRequests(Activity()),
        log,
        names=names,
        clock=lambda: 0.0,
        wall=lambda: 0.0,
        quiet=quiet,
    )


async def test_the_last_lines_come_first_and_then_each_that_follows() -> None:
    log = EngineLog(unchanged)
    log.add("org/name", "before")
    async with aclosing(past(log).follow_log("org/name@0123abc")) as events:
        assert await anext(events) == b'event: lines\ndata: {"lines":["before"]}\n\n'
        log.add("org/name", "after")
        log.add("org/other", "nothing to do with it")
        log.add("org/name", "last")
        assert await anext(events) == b'event: lines\ndata: {"lines":["after"]}\n\n'
        assert await anext(events) == b'event: lines\ndata: {"lines":["last"]}\n\n'


async def test_of_a_silent_engine_something_comes_now_and_then() -> None:
    async with aclosing(past(EngineLog(unchanged), quiet=0.0).follow_log("org/name")) as events:
        assert await anext(events) == b'event: lines\ndata: {"lines":[]}\n\n'
        assert (await anext(events)).startswith(b":")


async def test_no_more_than_so_many_readers_follow_logs() -> None:
    shown = past(EngineLog(unchanged))
    async with AsyncExitStack() as stack:
        for number in range(MOST_READERS):
            events = await stack.enter_async_context(
                aclosing(shown.follow_log(f"org/m{number}"))
            )
            await anext(events)
        with pytest.raises(QueueFull):
            await anext(shown.follow_log("org/name"))
    async with aclosing(shown.follow_log("org/name")) as events:  # the others have left
        await anext(events)


def test_the_last_lines_are_read_once_too() -> None:
    log = EngineLog(unchanged)
    log.add("org/name", "line")
    assert orjson.loads(past(log).log("org/name")) == {"lines": ["line"]}


def test_requests_are_told_as_they_are_kept() -> None:
    told = orjson.loads(past(EngineLog(unchanged)).activity())
    assert told == {"running": [], "ended": []}
