"""Give a worker secrets of every kind, then search everything that it shows.

The marker `control` is not a secret, and stands in each place that must not contain secrets. A
search that finds it would have found a secret too. (`tests/e2e` also searches processes and
files.)
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.changing import below
from tests.e2e.caller import CHAT, chat
from tests.e2e.evidence import content, found
from tests.e2e_runpod.harness import Endpoint, QueueHarness
from tests.eventually import eventually
from tests.loopback_platform import Job

HOUSE, PRIVATE = "acme/house", "acme/private"


@dataclass(frozen=True)
class Case:
    """The hidden secrets, and everything that was visible."""

    secrets: Mapping[str, str]  # by kind; for a token, the part after its prefix
    control: Mapping[str, str]
    router: bytes  # the worker's own environment
    jobs: list[Job]
    log: str
    upstream: bytes  # everything that engines received
    files: list[bytes]

    def found(self, *places: bytes | str) -> set[str]:
        """Secrets found in places where the control was found."""
        assert found(self.control, *places), "the search does not find what is there"
        return found(self.secrets, *places)


@pytest.fixture(scope="module")
def case(harness: QueueHarness) -> Case:
    control, malformed = secrets.token_hex(16), secrets.token_hex(16)
    inside, beside, own = (harness.hub.add_account("acme") for _ in range(3))
    stranger = harness.hub.add_account("stranger")
    other = {
        name: secrets.token_hex(16) for name in ("AWS_SECRET_ACCESS_KEY", "RUNPOD_API_KEY")
    }
    harness.model(HOUSE, gated=True)
    harness.model(PRIVATE, private=True)
    harness.model(f"acme/{control}", answer=control)
    with harness.endpoint(
        MODEL_NAME=HOUSE, HF_TOKEN=own, MAX_LOADED_MODELS="3", LOG_LEVEL="DEBUG", **other
    ) as endpoint:
        key = endpoint.platform.environment()["RUNPOD_AI_API_KEY"]
        jobs = _with_tokens(endpoint, inside, beside, stranger, f"acme/{control}")
        jobs += _malformed(endpoint, malformed)
        for job in jobs:
            job.wait()
        jobs += asyncio.run(_in_trouble(endpoint, inside))
        router = Path(f"/proc/{endpoint.worker.pid}/environ").read_bytes()
    hidden = {
        "inside": inside,
        "beside": beside,
        "stranger": stranger,
        "malformed": malformed,
        "HF_TOKEN": own,
        "platform": key,
        **other,
    }
    return Case(
        {role: secret.removeprefix("hf_") for role, secret in hidden.items()},
        {"control": control},
        router,
        jobs,
        endpoint.worker.log,
        harness.journal.path.read_bytes(),
        [*map(content, below(endpoint.worker.directory))],
    )


def _with_tokens(
    endpoint: Endpoint, inside: str, beside: str, stranger: str, control: str
) -> list[Job]:
    body = chat(PRIVATE, hf_token=inside)
    return [
        endpoint.submit(openai_route=CHAT, openai_input=body, hf_token=beside),
        endpoint.submit(openai_route=CHAT, openai_input={**body, "stream": True}),
        endpoint.submit(openai_route=f"/v1/models/{PRIVATE}", hf_token=beside),
        endpoint.submit(openai_route="/v1/models", openai_input={"hf_token": inside}),
        endpoint.submit(prompt="Who are you?", hf_token=stranger),
        endpoint.chat(PRIVATE, hf_token=beside),
        endpoint.chat(PRIVATE, hf_token=stranger),
        endpoint.stream(control, hf_token=inside),
        endpoint.chat(control),
        endpoint.chat(None),
    ]


def _malformed(endpoint: Endpoint, core: str) -> list[Job]:
    """Submit invalid tokens, and tokens in the wrong places. None of these jobs gets an
    answer."""
    tokens: list[Any] = [core, f"Bearer {core}", f"{core}é", f"{core}\n", core * 99]
    tokens += [[core], {core: core}]
    inputs: list[Any] = [chat(HOUSE, hf_token=token) for token in tokens]
    inputs += [{"openai_route": "/v1/models", "hf_token": token} for token in tokens]
    inputs += [{"openai_route": [core]}, core, [core]]
    inputs += [{core: core}, {"prompt": f"{core}\ud83d"}, {"prompt": [core, 10**40]}]
    return [endpoint.platform.submit(job_input) for job_input in inputs]


async def _in_trouble(endpoint: Endpoint, token: str) -> list[Job]:
    """Run jobs while the platform refuses a chunk, a result and a poll."""
    platform, worker = endpoint.platform, endpoint.worker
    platform.fail("job-stream", 400)
    streamed = endpoint.stream(PRIVATE, hf_token=token)
    streamed.wait()
    platform.fail("job-done", 400)
    platform.fail("job-take-batch", 500)
    lost = endpoint.chat(PRIVATE, hf_token=token)
    await eventually(lambda: worker.log.count("Failed to return job results") == 2)
    await eventually(lambda: "Failed to get job" in worker.log)
    return [streamed, lost]


def test_not_even_the_workers_own_environment_shows_any(case: Case) -> None:
    assert b"HF_HOME=" in case.router
    assert not found(case.secrets, case.router)


def test_the_log_has_none(case: Case) -> None:
    assert " DEBUG " in case.log
    assert "Jobs in queue" in case.log  # the SDK's log is included
    assert not case.found(case.log)


def test_no_output_has_any(case: Case) -> None:
    completed = [job for job in case.jobs if job.outcome and job.outcome.status == "COMPLETED"]
    assert len(completed) >= 8
    shown = [[job.outputs, job.finals, [p.output for p in job.progress]] for job in case.jobs]
    assert not case.found(json.dumps(shown))


def test_no_request_to_an_engine_has_any(case: Case) -> None:
    assert not case.found(case.upstream)


def test_no_file_of_the_workers_has_any(case: Case) -> None:
    assert not case.found(*case.files)
