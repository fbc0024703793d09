from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from router.admin.gauges import PoolGauges
from router.admin.metrics import Metrics
from router.admin.request_gauges import RequestGauges
from router.admin.series import MODELS, OTHER
from router.admin.state import WorkerFacts
from router.admin.worker_gauges import worker_gauges
from router.downloads.disk import DiskUsage
from router.errors import ModelGated
from router.pool.loading import Temperature, Waited
from router.requests.outcomes import Outcome
from router.requests.record import Record
from router.scheduler import actions, events
from tests.pool.fakes import spec
from tests.pool.harness import PoolHarness

CHAT = "/v1/chat/completions"
KEY = spec("a").key
MODEL = KEY.repo_id


class Scrape:
    """One scrape of `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)

    def value(self, name: str, **labels: str) -> float | None:
        found: float | None = self._registry.get_sample_value(name, labels)
        return found

    @property
    def series(self) -> int:
        return sum(len(family.samples) for family in self._registry.collect())


def record_of(model: str, outcome: str = Outcome.OK) -> Record:
    record = Record(CHAT, caller="f" * 64)
    if model:
        record.authorized(model, "f" * 64)
        record.granted(Waited(1.0, 2.0, Temperature.COLD))
        record.begins(b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}')
    record.end(outcome, status=200)
    return record


def test_a_request_counts_once_by_how_it_ended() -> None:
    metrics = Metrics()
    metrics.request(record_of("org/a"))
    metrics.request(record_of("", "model_not_found"))
    scrape, shared = Scrape(metrics), {"transport": "http", "route": CHAT}
    assert scrape.value("router_requests_total", model="org/a", outcome="ok", **shared) == 1
    refused = {"model": "", "outcome": "model_not_found", **shared}
    assert scrape.value("router_requests_total", **refused) == 1
    assert scrape.value("router_model_uses_total", model="org/a", temperature="cold") == 1
    assert scrape.value("router_request_queue_seconds_sum", model="org/a") == 1.0
    assert scrape.value("router_request_load_seconds_sum", model="org/a") == 2.0
    assert scrape.value("router_request_first_byte_seconds_count", model="org/a") == 1
    assert scrape.value("router_tokens_total", model="org/a", kind="prompt") == 3
    assert scrape.value("router_tokens_total", model="org/a", kind="completion") == 4


def test_the_number_of_models_is_bounded_and_no_count_is_lost() -> None:
    metrics = Metrics()
    for number in range(MODELS + 100):
        metrics.request(record_of(f"org/{number}"))
    scrape = Scrape(metrics)
    some = {"transport": "http", "route": CHAT, "outcome": "ok"}
    assert scrape.value("router_requests_total", model="org/0", **some) is None
    assert scrape.value("router_requests_total", model=OTHER, **some) == 100
    before = scrape.series
    for number in range(1000, 1300):
        metrics.request(record_of(f"org/{number}"))
    assert scrape.series == before
    assert scrape.value("router_requests_total", model=OTHER, **some) == 400


def test_what_happens_to_engines_is_counted_by_reason() -> None:
    metrics = Metrics()
    for event in (
        events.Healthy(KEY, 1),
        events.StartFailed(KEY, 2, "reason", out_of_memory=True),
        events.StartFailed(KEY, 3, "reason", out_of_memory=False, unsupported=True),
        events.Crashed(KEY, 1, "exit status 1"),
        events.Asleep(KEY, 4, 0),
        events.Fetched(KEY, 1, Path()),
        events.FetchFailed(KEY, 2, ModelGated("m"), blames_credential=True),
    ):
        metrics.pool(0.0, event, [])
    for why in ("evicted", "expired", "crashed: exit status 1", "others are wanted more"):
        metrics.pool(0.0, events.Tick(), [actions.Stop(KEY, 1, why, at_once=False)])
    scrape = Scrape(metrics)
    for outcome in ("ok", "out_of_memory", "unsupported"):
        assert scrape.value("router_engine_starts_total", model=MODEL, outcome=outcome) == 1
    assert scrape.value("router_engine_crashes_total", model=MODEL) == 1
    assert scrape.value("router_engine_sleeps_total", model=MODEL, change="asleep") == 1
    assert scrape.value("router_evictions_total", model=MODEL, reason="evicted") == 1
    assert scrape.value("router_evictions_total", model=MODEL, reason="expired") == 1
    assert scrape.value("router_evictions_total", model=MODEL, reason="crashed") is None
    assert scrape.value("router_downloads_total", model=MODEL, outcome="model_gated") == 1


def test_no_caller_is_a_label() -> None:
    metrics = Metrics()
    metrics.request(record_of("org/a"))
    metrics.hub("resolve", "ok", 0.1)
    names = {
        name
        for family in metrics.collect()
        for sample in family.samples
        for name in sample.labels
    }
    assert names <= {"transport", "route", "model", "outcome", "temperature", "kind", "le"} | {
        "question",
    }


def test_the_document_lists_each_metric() -> None:
    text = Path("docs/observability.md").read_text()
    table = set(re.findall(r"`(router_\w+)`", text.partition("## Metrics")[2]))
    pool = PoolHarness()
    gauges = PoolGauges(pool.pool.view.report, lambda: 0, label=str)
    requests = RequestGauges(lambda: 0, lambda: (0, 0))
    facts = WorkerFacts(0.0, ready=True, leaving=False, max_queue=9, max_loaded=2)
    worker = worker_gauges(facts, DiskUsage(10, None, 90, 5))
    families = [*Metrics().collect(), *gauges.collect(), *requests.collect(), *worker]
    written = {one.name + "_total" * (one.type == "counter") for one in families}
    assert table == written | {"router_info"}
