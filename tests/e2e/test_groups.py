"""Models of one group take turns, even if there is room for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.admin import Operator, operating
from tests.e2e.caller import Caller
from tests.e2e.harness import ENDLESS, Harness
from tests.eventually import eventually
from tests.worker import Worker

APART = """
groups:
  large: {max_loaded: 1}
models:
- {model: acme/one, group: large, memory: 1GiB}
- {model: acme/two, group: large, memory: 1GiB}
- {model: acme/free, memory: 1GiB}
"""
TOGETHER = """
- model: acme/one
  memory: 1GiB
- model: acme/two
  memory: 1GiB
- model: acme/free
  memory: 1GiB
"""


def write(file: Path, models: str) -> None:
    file.write_text(models)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "models.yaml"


@pytest.fixture(scope="module")
def worker(harness: Harness, file: Path) -> Iterator[Worker]:
    harness.model("acme/one", **ENDLESS)
    harness.model("acme/two")
    harness.model("acme/free")
    write(file, APART)
    with harness.worker(MODELS_CONFIG=str(file), MAX_LOADED_MODELS="4") as worker:
        yield worker


@pytest.fixture
async def operator(worker: Worker) -> AsyncIterator[Operator]:
    async with operating(worker.url) as operator:
        yield operator


async def ready(operator: Operator) -> set[str]:
    engines = (await operator.state())["engines"]
    return {one["model"] for one in engines if one["state"] == "ready"}


async def test_the_second_of_a_group_waits_for_the_first_and_takes_its_place(
    worker: Worker, caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("acme/free")).status == 200
    async with caller.stream("acme/one") as stream, asyncio.TaskGroup() as tasks:
        await stream.event()
        second = tasks.create_task(caller.chat("acme/two"))
        first = await operator.until("acme/one", lambda one: one["state"] == "draining")
        waits = await operator.engine("acme/two")
        assert (waits["group"], waits["waiting"]["reason"]) == ("large", "group")
        assert waits["waiting"]["leaving"] == [first["id"]]
        await stream.event()  # requests in flight continue
        stream.leave()
    assert second.result().status == 200
    assert await ready(operator) == {"acme/two", "acme/free"}
    await eventually(lambda: "evicted, for acme/two@" in worker.log)
    await eventually(lambda: "(group large)" in worker.log)


async def test_a_reload_parts_what_is_loaded_together_and_no_running_request(
    harness: Harness, worker: Worker, file: Path, caller: Caller, operator: Operator
) -> None:
    write(file, TOGETHER)
    status, answer = await operator.post("reload")
    assert (status, answer["unloaded"]) == (200, [])
    for name in ("acme/two", "acme/free"):
        assert (await caller.chat(name)).status == 200
    async with caller.stream("acme/one") as stream:
        await stream.event()
        assert await ready(operator) == {"acme/one", "acme/two", "acme/free"}
        starts = len(harness.journal.events("start", "acme/one"))
        write(file, APART)
        status, answer = await operator.post("reload")
        assert status == 200
        assert [one.partition("@")[0] for one in answer["unloaded"]] == ["acme/two"]
        await operator.until("acme/two", lambda one: not one)
        await eventually(lambda: "unloaded (group large)" in worker.log)
        await stream.event()
        assert await ready(operator) == {"acme/one", "acme/free"}
        assert len(harness.journal.events("start", "acme/one")) == starts


async def test_a_limit_that_changes_holds_at_once_and_starts_no_engine(
    harness: Harness, file: Path, caller: Caller, operator: Operator
) -> None:
    write(file, TOGETHER.replace("acme/one", "acme/one\n  max_concurrency: 1"))
    assert (await operator.post("reload"))[0] == 200
    async with caller.stream("acme/one") as stream, asyncio.TaskGroup() as tasks:
        await stream.event()
        before = len(harness.journal.events("start", "acme/one"))
        second = tasks.create_task(caller.chat("acme/one", max_tokens=1))
        await operator.until("acme/one", lambda one: one["waiting"]["reason"] == "place")
        write(file, TOGETHER)
        status, answer = await operator.post("reload")
        assert (status, answer["unloaded"]) == (200, [])
        assert (await second).status == 200
        assert len(harness.journal.events("start", "acme/one")) == before
