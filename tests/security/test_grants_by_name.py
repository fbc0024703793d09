"""The operator's lists of names, and names whose meaning has changed."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.security.harness import Client, Site, site

NOT_FOUND, NOT_ALLOWED, GATED = "model_not_found", "model_not_allowed", "model_gated"

# Gated, so that everybody may learn where a name leads. FORMER names lead to the others.
COVERED, FORMER_COVERED = "acme/Covered", "elsewhere/Once"
UNCOVERED, FORMER_UNCOVERED = "elsewhere/Now", "acme/Before"
HIDDEN, FORMER_HIDDEN = "acme/Hidden", "elsewhere/Hidden"  # private
ALLOWED = "guild/Allowed"
TRUSTED = "acme/Trusted"  # the operator's, and allowed to run its own code

SETTINGS = {
    "HF_TOKEN_MODELS": "acme/*",
    "ALLOWED_MODELS": "acme/*@*,elsewhere/*,guild/Allowed",
    "MODELS_CONFIG": f"[{{model: {TRUSTED}, trust_remote_code: true}}]",
    "MAX_LOADED_MODELS": "4",
}


@pytest.fixture(scope="module")
def models(harness: QueueHarness) -> None:
    for former, name in ((FORMER_COVERED, COVERED), (FORMER_UNCOVERED, UNCOVERED)):
        harness.model(former, gated=True)
        harness.hub.rename(former, name)
        harness.hub.accept(name, "worker")
    harness.model(FORMER_HIDDEN, private=True)
    harness.hub.rename(FORMER_HIDDEN, HIDDEN)
    harness.hub.share(HIDDEN, "worker")
    harness.model(ALLOWED)
    harness.model(TRUSTED)


@pytest.fixture(scope="module", params=["http", "queue"])
def worker(
    request: pytest.FixtureRequest, harness: QueueHarness, models: None
) -> Iterator[Site]:
    own = harness.hub.add_account("worker")
    with site(harness, request.param, HF_TOKEN=own, **SETTINGS) as worker:
        yield worker


@pytest.fixture
async def client(worker: Site) -> AsyncIterator[Client]:
    async with worker.client() as client:
        yield client


async def outcome(client: Client, name: str) -> str:
    seen = await client.chat(name)
    return seen.code or seen.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (COVERED, f"I am {COVERED}"),
        (FORMER_COVERED, f"I am {COVERED}"),  # covered by its canonical id
        (UNCOVERED, GATED),
        (FORMER_UNCOVERED, GATED),  # covered as written, but its new name is not
        (HIDDEN, f"I am {HIDDEN}"),
        (FORMER_HIDDEN, NOT_FOUND),  # nobody may learn where it leads
    ],
)
async def test_the_workers_token_is_for_what_a_name_means_now(
    client: Client, name: str, expected: str
) -> None:
    assert await outcome(client, name) == expected


_fresh = itertools.count(1)


async def test_a_name_that_is_not_allowed_is_refused_before_the_hub_is_asked(
    worker: Site, client: Client
) -> None:
    before = len(worker.harness.hub.requests)
    commit = worker.harness.hub.commit(ALLOWED, {}, "refs/pr/1")
    with worker.untouched():
        for name in ("guild/Else", f"{ALLOWED}@refs/pr/1", f"{ALLOWED}@{commit}"):
            assert await outcome(client, name) == NOT_ALLOWED
    assert len(worker.harness.hub.requests) == before


async def test_an_allowed_name_must_lead_to_an_allowed_model(
    worker: Site, client: Client
) -> None:
    name = f"acme/Moved-{next(_fresh)}"
    worker.harness.model(name)
    worker.harness.hub.rename(name, name.replace("acme/", "guild/"))
    with worker.untouched():
        for token in (None, worker.harness.hub.add_account("stranger")):
            assert (await client.chat(name, token)).code == NOT_ALLOWED


async def test_what_a_former_name_led_to_must_be_allowed_by_that_name_too(
    worker: Site, client: Client
) -> None:
    name = f"guild/Moved-{next(_fresh)}"
    worker.harness.model(name)
    worker.harness.hub.rename(name, name.replace("guild/", "acme/"))
    with worker.untouched():
        assert await outcome(client, name) == NOT_ALLOWED


async def test_a_pull_request_is_not_trusted_as_the_model_is(
    worker: Site, client: Client
) -> None:
    commit = worker.harness.hub.commit(TRUSTED, {"evil.py": b""}, f"refs/pr/{next(_fresh)}")
    assert await outcome(client, f"{TRUSTED}@{commit}") == f"I am {TRUSTED}"
    assert await outcome(client, TRUSTED) == f"I am {TRUSTED}"
    pulled, own = worker.harness.journal.events("start", TRUSTED)[-2:]
    assert commit in pulled["model_path"]
    assert "--trust-remote-code" not in pulled["argv"]
    assert "--trust-remote-code" in own["argv"]
    assert commit not in own["model_path"]


async def test_a_name_that_was_registered_anew_is_another_model(
    worker: Site, client: Client
) -> None:
    """The former owner's files are on this disk, and loaded."""
    hub, name = worker.harness.hub, f"acme/Reborn-{next(_fresh)}"
    worker.harness.model(name, private=True, answer="the old one")
    (former,) = {hub.commit(name, {})}
    old = hub.add_account("acme")
    assert (await client.chat(name, old)).text == "the old one"

    hub.delete(name)
    worker.harness.model(name, private=False, answer="the new one")
    late, newcomer = hub.add_account("acme"), hub.add_account("newcomer")
    for token in (late, newcomer):
        assert (await client.chat(name, token)).text == "the new one"
        assert (await client.chat(f"{name}@{former}", token)).code == "revision_not_found"
