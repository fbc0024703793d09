"""The output of engines, as it comes."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import orjson
import pytest

from router.admin.last_hour import LastHour
from router.admin.names import Names
from router.admin.past import MOST_READERS, Past
from router.admin.recent import RecentRequests
from router.admin.state import StateWriter
from router.admin.timeline import Happening
from router.config.catalog import Catalog, OperatorModel
from router.errors import QueueFull
from router.models import ModelRef
from router.pool.engine_log import EngineLog
from router.requests.activity import Activity
from router.scheduler import actions, events


def unchanged(text: str) -> str:
    return text


def past(log: EngineLog, quiet: float = 30.0, *models: OperatorModel) -> Past:
    names = Names(Catalog(models))
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


def test_what_has_happened_names_callers_as_the_operator_does() -> None:
    ann, stranger = "a1" * 6, "b2" * 6
    keys = {ann: "ann"}
    writer = StateWriter(Names(Catalog(())), unchanged, lambda one: keys.get(one or "", ""))
    text = f"2 callers used it (caller {ann}, caller {stranger})"
    told = writer.happening(Happening(0.0, "alarm", None, None, text), 0.0)
    assert told["text"] == f"2 callers used it (caller ann, caller {stranger})"


async def test_the_last_lines_come_first_and_then_each_that_follows() -> None:
    log = EngineLog(unchanged)
    log.add("org/name", "before")
    async with aclosing(past(log).follow_log("org/name@0123abc")) as told:
        assert await anext(told) == b'event: lines\ndata: {"lines":["before"]}\n\n'
        log.add("org/name", "after")
        log.add("org/other", "nothing to do with it")
        log.add("org/name", "last")
        assert await anext(told) == b'event: lines\ndata: {"lines":["after"]}\n\n'
        assert await anext(told) == b'event: lines\ndata: {"lines":["last"]}\n\n'


async def test_of_a_silent_engine_something_comes_now_and_then() -> None:
    async with aclosing(past(EngineLog(unchanged), quiet=0.0).follow_log("org/name")) as told:
        assert await anext(told) == b'event: lines\ndata: {"lines":[]}\n\n'
        assert (await anext(told)).startswith(b":")


async def test_no_more_than_so_many_readers_follow_logs() -> None:
    shown = past(EngineLog(unchanged))
    async with AsyncExitStack() as stack:
        for number in range(MOST_READERS):
            told = await stack.enter_async_context(aclosing(shown.follow_log(f"org/m{number}")))
            await anext(told)
        with pytest.raises(QueueFull):
            await anext(shown.follow_log("org/name"))
    async with aclosing(shown.follow_log("org/name")) as told:  # the other listeners have left
        await anext(told)


def test_the_last_lines_are_read_once_too() -> None:
    log = EngineLog(unchanged)
    log.add("org/name", "line")
    assert orjson.loads(past(log).log("org/name")) == {"lines": ["line"]}


@pytest.mark.parametrize(
    "name", ["first", "second", "Qwen/Qwen3", "qwen/qwen3", "q", "QWEN/QWEN3@main"]
)
async def test_lines_are_found_under_each_name_of_their_model(name: str) -> None:
    models = (
        OperatorModel(source=Path("/models/x"), aliases=("first", "second")),
        OperatorModel(source=ModelRef("qwen/qwen3"), aliases=("q",)),
    )
    log = EngineLog(unchanged)
    shown = past(log, 30.0, *models)
    kept = "first" if name in {"first", "second"} else "Qwen/Qwen3"  # as the Hub spells it
    async with aclosing(shown.follow_log(name)) as told:
        await anext(told)
        log.add(kept, "line")
        assert await anext(told) == b'event: lines\ndata: {"lines":["line"]}\n\n'
    assert orjson.loads(shown.log(name)) == {"lines": ["line"]}


def test_requests_are_told_as_they_are_kept() -> None:
    told = orjson.loads(past(EngineLog(unchanged)).activity())
    assert told == {"running": [], "ended": []}


async def test_the_hour_is_looked_through_for_secrets_outside_of_the_loops_thread() -> None:
    places: list[int] = []

    def redact(text: str) -> str:
        places.append(threading.get_ident())
        return text.replace("secret", "***")

    journal, names = LastHour(), Names(Catalog(()))
    journal.tell(1.0, events.Tick(), [actions.Alarm("a secret")])
    shown = Past(
        journal,
        StateWriter(names, redact),
        RecentRequests(Activity()),
        EngineLog(unchanged),
        names=names,
        clock=lambda: 2.0,
        wall=lambda: 2.0,
    )
    (event,) = orjson.loads(await shown.journal())["events"]
    assert (event["what"], event["text"], event["at"]) == ("alarm", "a ***", 1.0)
    assert threading.get_ident() not in places
