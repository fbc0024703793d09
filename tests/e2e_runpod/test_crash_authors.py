"""One caller's jobs kill a shared engine; another caller uses it normally."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e_runpod.harness import Endpoint, QueueHarness, refusal, said

POISON = "arsenic"


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint() as endpoint:
        yield endpoint


def test_whose_jobs_kill_a_shared_engine_is_shut_out_and_the_others_are_answered(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    good, bad = (harness.hub.add_account(name) for name in ("good", "bad"))
    model = harness.model("acme/shared", poison=POISON)
    text = f"I am {model}"
    assert said(endpoint.chat(model, hf_token=good).wait()) == text
    refusals = []
    for _ in range(3):
        poison = endpoint.chat(model, hf_token=bad, user=POISON)
        beside = [endpoint.chat(model, hf_token=good) for _ in range(3)]
        refusals.append(refusal(poison.wait()))
        assert [said(job.wait()) for job in beside] == [text] * 3
    assert refusals == ["engine_failed", "engine_failed", "caller_quarantined"]
    assert len(harness.journal.events("start", model)) == 3
    stream = endpoint.stream(model, hf_token=bad).wait()
    assert refusal(stream) == "caller_quarantined"
