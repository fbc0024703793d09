from __future__ import annotations

import asyncio

from prometheus_client.core import Metric

from router.admin.engine_metrics import EngineMetrics, ScrapedEngine, has_metrics
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


def test_only_an_engine_that_was_told_to_has_metrics() -> None:
    assert has_metrics(("--tp=2", "--enable_metrics"))
    assert not has_metrics(("--enable-mixed-chunk",))
