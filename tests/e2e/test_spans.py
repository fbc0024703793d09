"""A worker sends spans of its requests to a collector."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.e2e.caller import CHAT, calling, chat, credentials
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.traces.loopback_collector import LoopbackCollector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def environ_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_collector_and_the_engine_hear_of_one_trace_and_of_no_secret(
    harness: Harness,
) -> None:
    account = harness.hub.add_account("ann")
    model = harness.model("ann/traced", private=True)
    prompt, header = secrets.token_hex(8), secrets.token_hex(8)
    with (
        LoopbackCollector() as collector,
        harness.worker(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={header}",
            OTEL_SERVICE_NAME="my-worker",
            OTEL_BSP_SCHEDULE_DELAY="20",  # ms between two batches
            LOG_LEVEL="DEBUG",
        ) as worker,
    ):
        async with calling(worker.url) as caller:
            for flags in ("01", "00"):
                traced = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "tracestate": "a=1"}
                body = chat(model, messages=[{"role": "user", "content": prompt}])
                answer = await caller.post(CHAT, body, {**credentials(account), **traced})
                assert answer.status == 200, answer.body
        sampled, unsampled = (
            one["headers"] for one in harness.journal.events("request", model)[-2:]
        )
        environ = environ_of(harness.journal.engine(model))
        # A worker that leaves has little time to send the rest.
        await eventually(lambda: any(one.name == f"POST {CHAT}" for one in collector.spans))
        assert worker.stop() == 0
        assert f"spans of requests go to {collector.url}/v1/traces" in worker.log
        assert header not in worker.log
    root = collector.named(f"POST {CHAT}")  # of the request that its caller traces
    assert (root.trace, root.parent, root.state) == (TRACE, SPAN, "a=1")
    assert root.service["service.name"] == "my-worker"
    assert root.attributes["model_router.temperature"] == "cold"
    assert root.attributes["model_router.request.id"] in worker.log
    call = collector.named(f"chat {model}")
    assert {one.name for one in collector.below(root)} == {
        "authorize",
        "queue",
        "load",
        call.name,
    }
    assert [one.name for one in collector.below(call)] == ["first_token", "stream"]
    assert all(root.began <= one.began <= one.ended <= root.ended for one in collector.spans), (
        collector.spans
    )
    assert sampled["traceparent"].split("-")[1:3] == [TRACE, call.id]
    assert sampled["tracestate"] == unsampled["tracestate"] == "a=1"
    assert unsampled["traceparent"].startswith(f"00-{TRACE}-")
    assert unsampled["traceparent"].endswith("-00")
    assert {one["x-api-key"] for one in collector.headers} == {header}
    assert not any(
        text.encode() in b"".join(collector.raw) for text in (account, prompt, header)
    )
    assert b"OTEL_" not in environ


def test_a_worker_that_can_not_send_spans_as_asked_says_so_and_does_not_start(
    harness: Harness,
) -> None:
    worker = harness.new_worker(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
    )
    with pytest.raises(RuntimeError, match="OTEL_EXPORTER_OTLP_PROTOCOL='grpc': must be"):
        worker.__enter__()
