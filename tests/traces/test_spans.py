"""The spans of single records, as a collector receives them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from router.pool.loading import AT_ONCE, LoadStep, Temperature, Waited
from router.requests.outcomes import Outcome
from router.requests.record import Record, Transport
from router.requests.recorder import Recorder
from router.requests.trace_context import Trace
from router.traces.collector import Collector
from router.traces.record import TracedRecord
from router.traces.spans import Spans
from tests.eventually import eventually
from tests.traces.loopback_collector import LoopbackCollector

CHAT = "/v1/chat/completions"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_900_000_000.0 + self.now


class Tracing:
    def __init__(self, collector: LoopbackCollector) -> None:
        self.collector, self.time = collector, Time()
        self.spans = Spans(Collector("X", f"{collector.url}/v1/traces"))
        self.recorder = Recorder(
            observers=[self.spans.tell],
            new=self.spans.open,
            clock=self.time,
            wall=self.time.wall,
        )

    def open(self, route: str = CHAT, **more: object) -> Record:
        return self.recorder.open(route, request_id="my-id", **more)  # type: ignore[arg-type]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackCollector]:
    with LoopbackCollector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        monkeypatch.setattr("router.traces.spans._LAST_MOMENT", 60.0)
        yield collector


@asynccontextmanager
async def tracing(collector: LoopbackCollector) -> AsyncIterator[Tracing]:
    made = Tracing(collector)
    made.spans.start()
    try:
        yield made
    finally:
        await made.spans.close()


async def test_a_cold_request_is_drawn_with_all_that_it_waited_for(
    collector: LoopbackCollector,
) -> None:
    async with tracing(collector) as t:
        record = t.open(trace=Trace(f"{PARENT}01", "a=1"))
        t.time.now += 1
        record.parsed(stream=True, prompt_guess=3)
        t.time.now += 1
        record.authorized("org/model", "3f2a" * 16)
        t.time.now += 20  # 2 s for room, 10 s of download, 3 s for room, 5 s of start
        steps = (LoadStep("fetch", 18.0, 8.0), LoadStep("start", 5.0, 0.0))
        record.granted(Waited(5.0, 15.0, Temperature.COLD, steps))
        told = record.trace
        t.time.now += 2
        record.begins(b'data: {"usage":{"prompt_tokens":12,"completion_tokens":80}}\n\n')
        t.time.now += 4
        record.end(Outcome.OK, status=200)
        t.recorder.close(record)
    root = collector.named(f"POST {CHAT}")
    assert (root.kind, root.trace, root.parent) == ("server", PARENT[3:35], PARENT[36:52])
    assert (root.state, root.failed) == ("a=1", False)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "model_router.request.id": "my-id",
        "model_router.temperature": "cold",
        "enduser.pseudo.id": "3f2a" * 3,
        "gen_ai.request.model": "org/model",
    }
    children = collector.below(root)
    assert [
        (one.name, round((one.ended - one.began) / 1e9), one.attributes)
        for one in children
        if one.kind == "internal"
    ] == [
        ("authorize", 1, {}),
        ("queue", 2, {}),
        ("load", 10, {"model_router.step": "fetch"}),
        ("queue", 3, {}),
        ("load", 5, {"model_router.step": "start"}),
    ]
    waiting = [one for one in children if one.name in ("queue", "load")]
    assert all(abs(a.ended - b.began) < 1000 for a, b in pairwise(waiting))
    call = collector.named("chat org/model")
    assert (call.kind, call.parent) == ("client", root.id)
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "sglang",
        "gen_ai.request.model": "org/model",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "org/model",
        "gen_ai.response.time_to_first_chunk": 2.0,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 80,
    }
    inner = [(one.name, round((one.ended - one.began) / 1e9)) for one in collector.below(call)]
    assert inner == [("first_token", 2), ("stream", 4)]
    assert {one.trace for one in collector.spans} == {root.trace}
    assert told is not None
    assert told.parent.split("-")[1:3] == [call.trace, call.id]
    assert told.state == "a=1"


async def test_a_request_that_is_sent_again_has_two_calls(collector: LoopbackCollector) -> None:
    async with tracing(collector) as t:
        record = t.open()
        record.authorized("org/model", "")
        record.granted(AT_ONCE)
        first = record.trace
        t.time.now += 1
        record.granted(AT_ONCE)
        assert record.trace != first
        record.begins(b"{}")
        record.end(Outcome.OK, status=200)
        t.recorder.close(record)
    died, answered = (one for one in collector.spans if one.name == "chat org/model")
    assert (died.failed, died.attributes["error.type"]) == (True, "engine_died")
    assert (answered.failed, "error.type" in answered.attributes) == (False, False)


async def test_a_start_that_fails_is_a_load_that_fails(collector: LoopbackCollector) -> None:
    async with tracing(collector) as t:
        record = t.open()
        record.authorized("org/model", "")
        t.time.now += 9
        record.gave_up(Waited(0.0, 9.0, Temperature.COLD, (LoadStep("start", 9.0, 0.0),)))
        record.refuse("engine_failed", 502)
        t.recorder.close(record)
    root, load = collector.named(f"POST {CHAT}"), collector.named("load")
    assert (root.failed, root.attributes["error.type"]) == (True, "engine_failed")
    assert (load.failed, load.attributes["error.type"]) == (True, "engine_failed")


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("model_not_found", 404, False),
        ("queue_full", 429, False),
        ("hub_unavailable", 503, True),
    ],
)
async def test_a_callers_mistake_is_no_error_of_the_server(
    collector: LoopbackCollector, code: str, status: int, *, fault: bool
) -> None:
    async with tracing(collector) as t:
        record = t.open()
        record.parsed(stream=False, prompt_guess=0)
        record.refuse(code, status)
        t.recorder.close(record)
    root, refused = collector.named(f"POST {CHAT}"), collector.named("authorize")
    assert (root.failed, root.attributes["error.type"]) == (fault, code)
    assert refused.attributes["error.type"] == code


async def test_a_path_or_a_method_that_the_router_does_not_have_is_not_repeated(
    collector: LoopbackCollector,
) -> None:
    async with tracing(collector) as t:
        for method, route in (("POST", "-"), ("-", CHAT)):
            record = t.open(route, method=method)
            record.refuse("route_not_found", 404)
            t.recorder.close(record)
    assert [one.name for one in collector.spans] == ["POST", f"HTTP {CHAT}"]
    assert collector.spans[1].attributes["http.request.method"] == "_OTHER"


async def test_a_job_is_taken_from_a_queue(collector: LoopbackCollector) -> None:
    async with tracing(collector) as t:
        record = t.open("-", transport=Transport.JOB, method="JOB")
        record.route = CHAT
        record.end(Outcome.OK, status=200)
        t.recorder.close(record)
    job = collector.named(f"JOB {CHAT}")
    assert (job.kind, job.parent) == ("consumer", "")
    assert job.attributes == {
        "faas.trigger": "pubsub",
        "faas.invocation_id": "my-id",
        "model_router.request.id": "my-id",
        "model_router.route": CHAT,
    }


async def test_the_operators_looks_at_the_worker_are_not_told(
    collector: LoopbackCollector,
) -> None:
    async with tracing(collector) as t:
        record = t.open("-", method="GET")
        record.is_operators("/admin")
        record.end(Outcome.OK, status=200)
        t.recorder.close(record)
    assert not collector.raw


async def test_what_its_caller_does_not_trace_is_not_traced_and_not_sent(
    collector: LoopbackCollector,
) -> None:
    async with tracing(collector) as t:
        record = t.open(trace=Trace(f"{PARENT}00"))
        assert not isinstance(record, TracedRecord)
        assert record.trace is not None
        assert record.trace.parent.startswith(PARENT[:36])
        assert record.trace.parent.endswith("-00")
        record.granted(AT_ONCE)
        record.end(Outcome.OK, status=200)
        t.recorder.close(record)
    assert not collector.raw


async def test_the_sampler_is_the_one_of_the_environment(
    collector: LoopbackCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    async with tracing(collector) as t:
        for trace, traced in ((None, False), (Trace(f"{PARENT}01"), True)):
            record = t.open(trace=trace)
            assert isinstance(record, TracedRecord) is traced


@pytest.mark.parametrize("own", ["", "my-workers"])
async def test_the_service_has_a_name(
    collector: LoopbackCollector, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    if own:
        monkeypatch.setenv("OTEL_SERVICE_NAME", own)
    async with tracing(collector) as t:
        end(t)
    assert collector.spans[0].service["service.name"] == (own or "model-router")


async def test_a_collector_that_is_gone_is_told_once_and_so_is_its_return(
    collector: LoopbackCollector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    caplog.set_level(logging.INFO)
    address = f"{collector.url}/v1/traces"
    async with tracing(collector) as t:
        collector.stop()
        end(t)
        await eventually(lambda: told(caplog))
        for _ in range(100):
            end(t)
        collector.start()
        await eventually(lambda: len(told(caplog)) > 1)
    assert told(caplog)[:2] == [  # on a busy machine, a later one may take more than 0.5 s
        f"spans can't be sent to {address}: Connection refused; they are lost until they can",
        f"spans are sent to {address} again",
    ]


@pytest.mark.parametrize("status", [401, 302, 304])
async def test_a_collector_that_refuses_is_told_with_its_answer(
    collector: LoopbackCollector, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    collector.status = status
    async with tracing(collector) as t:
        end(t)
        await eventually(lambda: told(caplog))
    (message,) = told(caplog)
    assert f": it answers {status}; " in message


async def test_more_spans_than_a_collector_takes_are_told_once(
    collector: LoopbackCollector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It does not pass on the same message twice within 20 s, even across tests.
    monkeypatch.setattr(logging.getLogger("opentelemetry.sdk._shared_internal"), "filters", [])
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    collector.answers.clear()
    async with tracing(collector) as t:
        for _ in range(50):
            end(t)
        collector.answers.set()
    address = f"{collector.url}/v1/traces"
    assert told(caplog) == [f"spans are dropped: {address} can't keep up"]


async def test_a_collector_that_hangs_holds_up_the_end_for_a_moment_only(
    collector: LoopbackCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.traces.spans._LAST_MOMENT", 0.05)
    collector.answers.clear()
    async with tracing(collector) as t:
        end(t)
        await eventually(lambda: collector.raw)
        end(t)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log without the lines of requests."""
    return [one.getMessage() for one in caplog.records if one.name != "router.requests"]


def end(t: Tracing) -> None:
    record = t.open()
    record.end(Outcome.OK, status=200)
    t.recorder.close(record)
