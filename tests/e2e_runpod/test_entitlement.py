"""Answers for a job with its own token, with the worker's token, or with none."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.e2e_runpod.harness import Endpoint, QueueHarness, refusal, said, streamed

PUBLIC, GATED, PRIVATE = "acme/public", "acme/gated", "acme/private"


@pytest.fixture(scope="module")
def tokens(harness: QueueHarness) -> dict[str, str | None]:
    """Tokens, by the role of the caller."""
    harness.model(PUBLIC)
    harness.model(GATED, gated=True)
    harness.model(PRIVATE, private=True)
    harness.hub.accept(GATED, "accepted")
    made = {name: harness.hub.add_account(name) for name in ("acme", "accepted", "stranger")}
    expired = harness.hub.add_account("acme")
    harness.hub.expire(expired)
    unknown = "hf_" + secrets.token_hex(17)
    return {**made, "expired": expired, "unknown": unknown, "malformed": "a b", "none": None}


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness, tokens: dict[str, str | None]) -> Iterator[Endpoint]:
    with harness.endpoint(MODEL_NAME=PUBLIC, MAX_LOADED_MODELS="3") as endpoint:
        yield endpoint


@pytest.fixture(scope="module", autouse=True)
def trusted(harness: QueueHarness, tokens: dict[str, str | None]) -> Iterator[Endpoint]:
    """A worker with its own token. It starts while the others are tested."""
    own = harness.hub.add_account("acme")
    with harness.endpoint(MODEL_NAME=GATED, HF_TOKEN=own, MAX_LOADED_MODELS="2") as endpoint:
        yield endpoint


MAY = [
    (PUBLIC, "none"),
    (PUBLIC, "stranger"),
    (GATED, "accepted"),
    (GATED, "acme"),
    (PRIVATE, "acme"),
]
MAY_NOT = [
    (GATED, "none", "model_gated"),
    (GATED, "stranger", "model_gated"),
    (PRIVATE, "none", "model_not_found"),
    (PRIVATE, "accepted", "model_not_found"),
    (PUBLIC, "expired", "invalid_hf_token"),
    (PUBLIC, "unknown", "invalid_hf_token"),
    (PUBLIC, "malformed", "invalid_hf_token"),
    (PRIVATE, "expired", "invalid_hf_token"),
    (GATED, "unknown", "invalid_hf_token"),
]


def test_who_may_read_a_model_is_served(
    endpoint: Endpoint, tokens: dict[str, str | None]
) -> None:
    asked = [(model, {"hf_token": tokens[bearer]}) for model, bearer in MAY]
    jobs = [endpoint.chat(model, **token) for model, token in asked]
    streams = [endpoint.stream(model, **token) for model, token in asked]
    expected = [f"I am {model}" for model, _ in MAY]
    assert [said(job.wait()) for job in jobs] == expected
    assert [streamed(job) for job in streams] == expected


def test_who_may_not_is_told_so_and_the_worker_goes_on(
    endpoint: Endpoint, tokens: dict[str, str | None]
) -> None:
    asked = [(model, {"hf_token": tokens[bearer]}) for model, bearer, _ in MAY_NOT]
    jobs = [endpoint.chat(model, **token) for model, token in asked]
    streams = [endpoint.stream(model, **token) for model, token in asked]
    expected = [code for _, _, code in MAY_NOT]
    assert [refusal(job.wait()) for job in jobs] == expected
    assert [refusal(job.wait()) for job in streams] == expected
    assert said(endpoint.chat(None).wait()) == f"I am {PUBLIC}"


def test_the_workers_own_token_serves_jobs_that_bring_none(
    trusted: Endpoint, tokens: dict[str, str | None]
) -> None:
    assert said(trusted.chat(None).wait()) == f"I am {GATED}"
    assert said(trusted.chat(PRIVATE).wait()) == f"I am {PRIVATE}"
    theirs = tokens["stranger"]
    assert refusal(trusted.chat(None, hf_token=theirs).wait()) == "model_gated"
    assert refusal(trusted.chat(PRIVATE, hf_token=theirs).wait()) == "model_not_found"
    bad = tokens["unknown"]
    assert refusal(trusted.chat(None, hf_token=bad).wait()) == "invalid_hf_token"
