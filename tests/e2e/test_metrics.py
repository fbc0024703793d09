"""The operator's Prometheus can read the worker's metrics, and nobody else can."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.admin import operating
from tests.e2e.caller import CHAT, Caller, calling, chat
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.examples.monitoring import metrics_used
from tests.worker import Worker

KEY = secrets.token_hex(16)
STRANGERS = 300  # requested names: more than the number of models with series
MADE_UP = ("missing", "down", "bad name", "missing@v")


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="1", ADMIN_API_KEY=KEY) as worker:
        yield worker


class Scrape:
    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        wanted = labels.items()
        return sum(
            one.value
            for one in self._samples
            if one.name == name and wanted <= one.labels.items()
        )

    def series(self) -> set[tuple[str, ...]]:
        """All series: names with their labels."""
        return {(one.name, *one.labels.values()) for one in self._samples}

    def models(self, *names: str) -> set[str]:
        """The models with series of these metrics; without names: of any metric."""
        return {
            one.labels["model"]
            for one in self._samples
            if "model" in one.labels and (not names or one.name in names)
        }


async def scrape(worker: Worker) -> Scrape:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{worker.url}/metrics", headers=headers) as answer,
    ):
        assert answer.status == 200
        return Scrape(await answer.text())


async def test_requests_engines_and_memory_are_counted(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    first, second = harness.model("acme/counted"), harness.model("acme/counted-next")
    for model in (first, first, second):
        assert (await caller.chat(model)).status == 200
    await eventually(lambda: worker.log.count(f" ok 200 {second} cold ") == 1)
    told = await scrape(worker)
    assert told.value("router_requests_total", model=first, outcome="ok") == 2
    assert told.value("router_model_uses_total", model=first, temperature="hit") == 1
    assert told.value("router_model_uses_total", model=first, temperature="cold") == 1
    assert told.value("router_engine_starts_total", model=first, outcome="ok") == 1
    assert told.value("router_evictions_total", model=first, reason="evicted") == 1
    assert told.value("router_models", state="ready") == 1
    assert told.value("router_engine_memory_bytes", model=second, kind="held") > 0
    assert told.value("router_device_memory_bytes", kind="budget") > 0
    assert told.value("router_hub_requests_total", question="resolve", outcome="ok") >= 2
    assert told.value("router_downloaded_bytes_total") > 0
    assert told.value("process_resident_memory_bytes") > 0


async def test_an_engine_that_dies_is_a_crash(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    model = harness.model("acme/dies")
    assert (await caller.chat(model)).status == 200
    harness.journal.kill_engine(model)
    await eventually(lambda: f"{model}@" in worker.log.rpartition(" crashed: ")[0][-120:])
    assert (await scrape(worker)).value("router_engine_crashes_total", model=model) == 1


async def test_all_is_there_that_the_dashboard_and_the_alerts_ask_for(worker: Worker) -> None:
    told = (await scrape(worker)).text
    there = set(re.findall(r"^# TYPE (\w+) ", told, re.MULTILINE))
    assert len(metrics_used()) > 25
    assert metrics_used() - there == set()
    for kind in ("used", "free", "reserve"):
        assert f'router_disk_bytes{{kind="{kind}"}}' in told


async def test_a_strangers_private_model_is_for_the_operator_only_and_no_token_for_anybody(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    model = harness.model("acme/secret", private=True)
    owner = harness.hub.add_account("acme")
    assert (await caller.chat(model, token=owner)).status == 200
    told = await scrape(worker)
    assert told.value("router_requests_total", model=model, outcome="ok") == 1
    assert owner not in told.text
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{worker.url}/metrics") as answer,
    ):
        assert answer.status == 401
        assert model not in await answer.text()


async def test_the_models_that_a_stranger_makes_up_make_no_series(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    harness.hub.faults.add("/api/models/acme/down-.*", "503", times=None)
    bodies = [chat(f"acme/{kind}-0") for kind in MADE_UP]
    for body in bodies:
        assert (await caller.post(CHAT, body)).status in (400, 403, 404, 503)
    before = (await scrape(worker)).series()

    async def ask(numbers: range) -> None:
        for number in numbers:
            kind = MADE_UP[number % len(MADE_UP)]
            await caller.post(CHAT, chat(f"acme/{kind}-{number}"))

    await asyncio.gather(*(ask(range(first, STRANGERS, 8)) for first in range(8)))
    harness.hub.faults.clear()
    told = await scrape(worker)
    new = {one for one in told.series() - before if "rate_limited" not in one}
    assert new == set()
    assert told.value("router_requests_total", model="") >= STRANGERS


async def test_a_model_that_is_listed_no_more_takes_its_gauges_along(
    harness: Harness, tmp_path: Path
) -> None:
    stays, goes = harness.model("acme/stays"), harness.model("acme/goes")
    file = tmp_path / "models.yaml"
    file.write_text(f"- {{model: {stays}, aliases: [old]}}\n- {{model: {goes}}}\n")
    gauges = ("router_engine_memory_bytes", "router_model_in_flight", "router_model_waiting")
    with harness.worker(
        ADMIN_API_KEY=KEY, MODELS_CONFIG=str(file), MAX_LOADED_MODELS="4"
    ) as worker:
        async with calling(worker.url) as caller, operating(worker.url, KEY) as operator:
            for name in ("old", goes):
                assert (await caller.chat(name)).status == 200
            assert (await scrape(worker)).models(*gauges) == {stays, goes}
            for number in range(3):  # renamed each time
                file.write_text(f"- {{model: {stays}, aliases: [new-{number}]}}\n")
                assert (await operator.post("reload"))[0] == 200
                assert (await caller.chat(f"new-{number}")).status == 200
            await operator.until(goes, lambda one: not one)
            told = await scrape(worker)
    assert told.models(*gauges) == {stays}
    assert told.value("router_requests_total", model=goes) == 1  # counts are kept
    assert told.models() <= {stays, goes, "", "other"}
