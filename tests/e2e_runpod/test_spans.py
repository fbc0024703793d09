"""Spans of jobs are also sent to a collector."""

from __future__ import annotations

from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.traces.loopback_collector import LoopbackCollector


async def test_a_job_is_a_trace_of_its_own(harness: QueueHarness) -> None:
    model = harness.model("acme/traced-job")
    with LoopbackCollector() as collector:
        with harness.endpoint(
            MODEL_NAME=model,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="20",  # ms between two batches
        ) as endpoint:
            job = endpoint.chat(model)
            assert job.wait().status == "COMPLETED"
            # A worker that leaves has little time to send the rest.
            await eventually(lambda: any(one.kind == "consumer" for one in collector.spans))
        root = collector.named("JOB /v1/chat/completions")
        assert (root.kind, root.parent) == ("consumer", "")
        assert root.attributes["faas.invocation_id"] == job.id
        call = collector.named(f"chat {model}")
        assert call.parent == root.id
        sent = harness.journal.events("request", model)[-1]
        assert sent["headers"]["traceparent"].split("-")[1:3] == [root.trace, call.id]
