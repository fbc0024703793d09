from __future__ import annotations

import asyncio

import pytest
from prometheus_client.core import Metric

from router.admin.engine_metrics import EngineMetrics, ScrapedEngine, has_metrics
from router.admin.exposition import Exposition
from router.secrets import Secret

TEXT = """# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="served"} 3.0
"""


def scraped(label: str) -> ScrapedEngine:
    return ScrapedEngine(label, f"http://127.0.0.1:1/{label}", Secret("the engine's own key"))


async def read(answers: dict[str, str | None], within: float = 5.0) -> list[Metric]:
    """Read one engine per answer. An engine without an answer hangs."""

    async def ask(url: str, _key: Secret, _most: int) -> str | None:
        name = url.removesuffix("/metrics").rpartition("/")[2]
        if (answer := answers[name]) is None:
            await asyncio.Event().wait()
        return answer or None

    return await EngineMetrics(lambda: map(scraped, answers), ask, within).read()


async def written(answers: dict[str, str | None]) -> bytes:
    """All metrics of a worker with these engines."""

    async def engines() -> list[Metric]:
        return await read(answers)

    return await Exposition([], {}, [engines]).text()


async def test_each_engines_metrics_get_its_model_as_a_label() -> None:
    (family,) = await read({"a": TEXT, "b": TEXT})
    assert {one.labels["model"] for one in family.samples} == {"a", "b"}
    assert all(one.labels["model_name"] == "served" for one in family.samples)


async def test_an_engine_that_hangs_holds_up_no_other() -> None:
    (family,) = await read({"a": TEXT, "b": None}, within=0.05)
    assert [one.labels["model"] for one in family.samples] == ["a"]


async def test_what_is_no_metrics_is_left_out() -> None:
    assert await read({"a": "<html>\x00{{{", "b": ""}) == []
    assert await read({"a": 'a{x="1", ="b"}', "b": "# TYPE a\n"}) == []  # two kinds of errors
    assert await read({}) == []


@pytest.mark.parametrize("line", ["a 1 inf", "a 1 nan", "a 1 " + "9" * 400, "a " + "9" * 400])
async def test_a_number_that_can_not_be_written_hides_no_other_engines_metrics(
    line: str,
) -> None:
    assert b'model="b"' in await written({"a": f"# TYPE a gauge\n{line}\n", "b": TEXT})


async def test_an_engine_does_not_say_when_its_numbers_were_taken() -> None:
    ((sample,),) = [one.samples for one in await read({"a": "a 1 1700000000000"})]
    assert (sample.value, sample.timestamp) == (1.0, None)


@pytest.mark.parametrize(
    "text",
    [
        "# TYPE router_worker_ready gauge\nrouter_worker_ready 0\n",
        "router_worker_ready 0\n",
        '{"router.worker_ready"} 0\n',
        "# TYPE router info\nrouter 1\n",
        "process_open_fds 1\n",
    ],
)
async def test_an_engine_adds_nothing_to_the_routers_own_metrics(text: str) -> None:
    found = await read({"a": text + TEXT})
    assert [one.name for one in found] == ["sglang:num_running_reqs"]


def test_only_an_engine_that_was_told_to_has_metrics() -> None:
    assert has_metrics(("--tp=2", "--enable_metrics"))
    assert not has_metrics(("--enable-mixed-chunk",))
