"""Spans of jobs are also sent to a collector."""

from __future__ import annotations

from tests.e2e_runpod.harness import QueueHarness
from tests.traces.loopback_collector import LoopbackCollector


def test_a_job_is_a_trace_of_its_own(harness: QueueHarness) -> None:
    model = harness.model("acme/traced-job")
    with LoopbackCollector() as collector:
        with harness.endpoint(
            MODEL_NAME=model, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
        ) as endpoint:
            job = endpoint.chat(model)
            assert job.wait().status == "COMPLETED"
        root = collector.named("JOB /v1/chat/completions")
        assert (root.kind, root.parent) == ("consumer", "")
        assert root.attributes["faas.invocation_id"] == job.id
        call = collector.named(f"chat {model}")
        assert call.parent == root.id
        sent = harness.journal.events("request", model)[-1]
        assert sent["headers"]["traceparent"].split("-")[1:3] == [root.trace, call.id]
