"""RunPod's own client, and a worker that takes jobs from the loopback platform's queue."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
import runpod

from tests.clients.harness import run
from tests.e2e.caller import chat
from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import Endpoint, QueueHarness
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform.public_api import PublicApi

PRIVATE, TALKS = "acme/private", "acme/talks"
ANSWER = "I am acme/private"
NAME = "endpoint"
PATIENCE = 90  # seconds; the client's default is 3


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueHarness]:
    with LoopbackHub() as hub:
        harness = QueueHarness(hub, tmp_path_factory.mktemp("queue"))
        harness.model(PRIVATE, private=True)
        harness.model(TALKS, **ENDLESS)
        yield harness


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def api(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """The API's URL and key."""
    key = secrets.token_hex(16)
    api = PublicApi(endpoint.platform, NAME, key)
    yield api.url, key
    api.stop()


@pytest.fixture
def client(api: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[runpod.Endpoint]:
    url, key = api
    monkeypatch.setattr(runpod, "endpoint_url_base", url)
    client = runpod.Endpoint(NAME, api_key=key)
    yield client
    client.rp_client.rp_session.close()


def test_the_example_runs_streams_and_cancels(
    harness: QueueHarness, api: tuple[str, str]
) -> None:
    url, key = api
    lines = run(
        "runpod_client.py",
        {
            "RUNPOD_ENDPOINT_BASE_URL": url,
            "ENDPOINT": NAME,
            "RUNPOD_KEY": key,
            "MODEL": PRIVATE,
            "HF_TOKEN": harness.hub.add_account("acme"),
        },
    )
    first, second, *events, failed, code, cancelled = lines
    assert (first, second) == (ANSWER, f"COMPLETED {ANSWER}")
    data = [event.removeprefix("data: ") for event in events if event]
    assert data.pop() == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in data]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == ANSWER
    assert (failed, code) == ("None FAILED", "model_not_found")
    assert cancelled == "CANCELLED"


async def test_canceling_a_job_that_runs_stops_its_generation(
    harness: QueueHarness, client: runpod.Endpoint
) -> None:
    job = client.run({"input": chat(TALKS, stream=True)})
    await eventually(lambda: bool(harness.journal.events("request", TALKS)))
    assert job.cancel(timeout=PATIENCE)["status"] == "CANCELLED"
    await eventually(lambda: bool(harness.journal.events("cancelled", TALKS)))
    assert job.status() == "CANCELLED"


def test_a_bare_body_becomes_a_job(client: runpod.Endpoint) -> None:
    """The client wraps the body. The worker then reports a missing model, not a bad job."""
    assert client.run_sync(chat("nobody/nothing")) is None
    assert client.health(timeout=PATIENCE)["jobs"]["failed"] >= 1


def test_a_wrong_key_is_told(api: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runpod, "endpoint_url_base", api[0])
    stranger = runpod.Endpoint(NAME, api_key="another")
    with pytest.raises(RuntimeError, match="401"):
        stranger.health(timeout=PATIENCE)
    stranger.rp_client.rp_session.close()
