"""The time before the first job; and models, including the default, that can't be served."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e_runpod.harness import Endpoint, QueueHarness, answer, refusal, said, streamed
from tests.eventually import eventually

STILLBORN = "acme/stillborn"
UNSERVABLE = {
    "acme/nowhere": "model_not_found",
    "acme/locked": "model_gated",
    "acme/hidden": "model_not_found",
    "acme/odd": "unsupported_model",
    "acme/huge": "model_too_large",
    "acme/open": "invalid_hf_token",  # the worker's own
}


async def test_no_job_is_taken_until_the_default_is_up(harness: QueueHarness) -> None:
    model = harness.model("acme/default")
    harness.hub.faults.add("/cdn/.*", "hang", times=None)
    with harness.endpoint(MODEL_NAME=model) as endpoint:
        job = endpoint.chat(None)
        await eventually(lambda: f"fetching {model}" in endpoint.worker.log)
        assert not job.taken.wait(1.2)  # the SDK polls every second
        assert not endpoint.platform.takes
        harness.hub.faults.clear()
        assert said(job.wait()) == f"I am {model}"
        assert len(harness.journal.events("start", model)) == 1
        await eventually(lambda: "Jobs in queue" in endpoint.worker.log)
        assert "router: ready" in endpoint.worker.log.partition("Jobs in queue")[0]


@pytest.fixture(scope="module")
def endpoints(harness: QueueHarness) -> Iterator[dict[str, Endpoint]]:
    """Endpoints by their default model. They all start at once."""
    harness.model("acme/locked", gated=True)
    harness.model("acme/hidden", private=True)
    harness.hub.add_repo("acme/odd", {"config.json": b"{}", "pytorch_model.bin": bytes(1000)})
    harness.model("acme/huge", answer="x" * 20_000)
    harness.model("acme/open")
    harness.model("acme/other")
    harness.model(STILLBORN, die_at_start=3, last_words="ValueError: this is beyond me")
    unknown = "hf_" + secrets.token_hex(17)
    with ExitStack() as stack:
        yield {
            default: stack.enter_context(
                harness.endpoint(
                    MODEL_NAME=default,
                    MAX_MODEL_BYTES="15000B",
                    MAX_LOADED_MODELS="2",
                    HF_TOKEN=unknown if default == "acme/open" else "",
                )
            )
            for default in (STILLBORN, *UNSERVABLE)
        }


@pytest.mark.parametrize(("default", "code"), UNSERVABLE.items())
async def test_jobs_for_a_default_that_can_not_be_served_are_told_why(
    harness: QueueHarness, endpoints: dict[str, Endpoint], default: str, code: str
) -> None:
    endpoint = endpoints[default]
    jobs = [endpoint.chat(None), endpoint.stream(None), endpoint.chat(default)]
    assert [refusal(job.wait()) for job in jobs] == [code] * 3
    assert answer(endpoint.run(openai_route="/v1/models"))["data"][0]["loaded"] is False
    token = harness.hub.add_account("somebody")
    assert said(endpoint.chat("acme/other", hf_token=token).wait()) == "I am acme/other"
    await eventually(lambda: "CRITICAL" in endpoint.worker.log)
    assert endpoint.worker.log.count("CRITICAL") == 1


def test_a_default_that_never_comes_up_takes_nothing_down(
    harness: QueueHarness, endpoints: dict[str, Endpoint]
) -> None:
    endpoint = endpoints[STILLBORN]
    assert said(endpoint.chat("acme/other").wait()) == "I am acme/other"
    refused = {refusal(endpoint.chat(None).wait()) for _ in range(3)}
    assert refused <= {"engine_failed", "engine_unavailable"}
    assert len(harness.journal.events("start", STILLBORN)) <= 4  # and it does not retry forever


def test_a_model_that_crashes_again_and_again_takes_no_other_down(
    harness: QueueHarness, endpoints: dict[str, Endpoint]
) -> None:
    crashing = harness.model("acme/crashing", die_before_answer=True)
    well = harness.model("acme/well", answer="still here " * 9, interval=0.05)
    endpoint = endpoints["acme/nowhere"]
    stream = endpoint.stream(well)
    refused = [refusal(endpoint.chat(crashing).wait())]
    while refused[-1] == "engine_failed":  # each crash makes the cool-down longer
        assert len(refused) < 10
        refused.append(refusal(endpoint.chat(crashing).wait()))
    assert (refused[0], refused[-1]) == ("engine_failed", "engine_unavailable")
    assert streamed(stream) == "still here " * 9
    assert len(harness.journal.events("start", well)) == 1
