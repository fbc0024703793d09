"""A Hub that fails or misbehaves: which callers are served, and what the others get."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.e2e.caller import calling
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.loopback_hub.faults import Kind
from tests.security.harness import SERVED, Client, Seen, Site, site

OPEN, HIDDEN, GATED = "acme/Open", "acme/Hidden", "acme/Gated"
UNAVAILABLE = "hub_unavailable"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def models(harness: QueueHarness) -> None:
    harness.model(OPEN)
    harness.model(HIDDEN, private=True)
    harness.model(GATED, gated=True)


@pytest.fixture(scope="module", params=["http", "queue"])
def place(
    request: pytest.FixtureRequest, harness: QueueHarness, models: None
) -> Iterator[Site]:
    with site(harness, request.param, MAX_LOADED_MODELS="3") as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


class Case:
    """Models that are loaded, and tokens that the worker has not seen yet."""

    def __init__(self, place: Site, client: Client) -> None:
        self.hub, self.client = place.harness.hub, client

    def token(self, account: str) -> str:
        return self.hub.add_account(account)

    async def entitled(self) -> str:
        """A token that may use all models, just shown by using them."""
        owner = self.token("acme")
        for model in (OPEN, HIDDEN, GATED):
            assert (await self.client.chat(model, owner)).text == f"I am {model}"
        return owner

    @contextmanager
    def trouble(self, fault: Kind) -> Iterator[None]:
        self.hub.faults.add("/.*", fault, times=None)
        try:
            yield
        finally:
            self.hub.faults.clear()


@pytest.fixture
def case(place: Site, client: Client) -> Case:
    return Case(place, client)


def refused(seen: Seen) -> bool:
    """Whether it was refused with a time to come back."""
    return seen.code == UNAVAILABLE and 1 <= seen.content["error"]["retry_after"] <= 60


async def only_the_entitled_are_served(case: Case, fault: Kind) -> None:
    owner, client = await case.entitled(), case.client
    with case.trouble(fault):
        served = [
            *(client.chat(model, owner) for model in (OPEN, HIDDEN, GATED)),
            *(client.chat(OPEN, token) for token in (None, case.token("stranger"))),
        ]
        others = [
            *(client.chat(HIDDEN, case.token(account)) for account in ("stranger", "acme")),
            client.chat(GATED, case.token("acme")),
            client.chat(f"acme/Absent-{secrets.token_hex(4)}", case.token("acme")),
            client.look(HIDDEN, case.token("acme")),
        ]
        async with asyncio.timeout(60):
            seen = await asyncio.gather(*served, *others)
    assert [one.code for one in seen[: len(served)]] == [SERVED] * len(served)
    assert all(refused(one) for one in seen[len(served) :]), seen


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "reset"])
async def test_a_failing_hub_stops_nobody_who_is_entitled_and_lets_in_nobody_else(
    case: Case, fault: Kind
) -> None:
    await only_the_entitled_are_served(case, fault)


@pytest.mark.parametrize("place", ["http"], indirect=True)
async def test_nor_does_one_that_hangs(case: Case) -> None:
    await only_the_entitled_are_served(case, "hang")


async def test_a_question_is_asked_once_however_many_wait_for_it(case: Case) -> None:
    owner, before = case.token("acme"), len(case.hub.requests)
    with case.trouble("hang"):
        asking = [asyncio.create_task(case.client.chat(HIDDEN, owner)) for _ in range(30)]
        await eventually(lambda: len(case.hub.requests) > before)
    assert {seen.text for seen in await asyncio.gather(*asking)} == {f"I am {HIDDEN}"}
    info = f"/api/models/{HIDDEN}"
    asked = Counter(request.path for request in case.hub.requests[before:])
    assert (asked[info], asked[f"{info}/auth-check"]) == (1, 1)


async def test_when_it_is_back_they_come_in(case: Case) -> None:
    owner = case.token("acme")
    with case.trouble("503"):
        assert refused(await case.client.chat(HIDDEN, owner))
    async with asyncio.timeout(90):
        while (seen := await case.client.chat(HIDDEN, owner)).code == UNAVAILABLE:  # noqa: ASYNC110 - it is asked for
            await asyncio.sleep(0.1)
    assert seen.text == f"I am {HIDDEN}"


async def test_a_limited_token_is_told_for_how_long_and_asks_no_more(case: Case) -> None:
    limited, other = case.token("acme"), case.token("acme")
    began = time.monotonic()
    with case.trouble("429"):
        assert refused(await case.client.chat(HIDDEN, limited))
    before = len(case.hub.requests)
    for model in (HIDDEN, GATED):
        seen = await case.client.chat(model, limited)
        assert refused(seen)
        left = 54 - (time.monotonic() - began)  # the Hub said 55, and all is rounded
        assert left <= seen.content["error"]["retry_after"] <= 55
    assert len(case.hub.requests) == before
    assert (await case.client.chat(HIDDEN, other)).text == f"I am {HIDDEN}"


@pytest.mark.parametrize(
    "endpoint",
    [
        {"HF_ENDPOINT": "https://hub.invalid"},
        {"HF_ENDPOINT": "https://localhost:1"},
        {"SSL_CERT_FILE": ""},
    ],
    ids=["unknown", "refused", "untrusted"],
)
async def test_a_worker_that_never_reached_the_hub_says_so(
    harness: QueueHarness, models: None, endpoint: Mapping[str, str]
) -> None:
    token = harness.hub.add_account("acme")
    with harness.worker(**endpoint) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.get("/ping")).status == 200
            for bearer in (token, None):
                answer = await caller.chat(HIDDEN, token=bearer)
                assert answer.refusal == (503, UNAVAILABLE)
                assert int(answer.headers["Retry-After"]) >= 1
    assert token not in worker.log


async def test_an_expired_certificate_is_no_hub(harness: QueueHarness, models: None) -> None:
    with harness.worker() as worker:
        async with calling(worker.url) as caller:
            harness.hub.certify(-DAY)
            try:
                answer = await caller.chat(OPEN, token=harness.hub.add_account("acme"))
            finally:
                harness.hub.certify(DAY)
            assert answer.refusal == (503, UNAVAILABLE)
            answer = await caller.chat(OPEN, token=harness.hub.add_account("acme"))
            assert answer.text == f"I am {OPEN}"
