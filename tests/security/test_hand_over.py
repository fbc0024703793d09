"""Several callers wait for one download, and its token stops working."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.loopback_hub import Request
from tests.security.harness import Client, Site, site
from tests.security.traces import wanted


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness) -> Iterator[Site]:
    with site(harness, request.param, FETCH_LINGER="0") as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


class Download:
    """The download of a private model, paused halfway while callers queue for it."""

    def __init__(self, place: Site, client: Client) -> None:
        self._place, self._client = place, client
        self.hub = place.harness.hub
        self.model = place.harness.model(f"acme/Hidden-{secrets.token_hex(4)}", private=True)
        self._since = len(self.hub.requests)
        self.hub.faults.add(f"/{self.model}/resolve/.*/model.safetensors", "hang", times=None)

    def token(self, account: str) -> str:
        self.hub.share(self.model, account)
        return self.hub.add_account(account)

    async def ask(self, token: str) -> asyncio.Task[str]:
        """Send a request, and wait until it is in the pool. The task's result is a text or a
        code."""
        queued = self._queued + 1
        task = asyncio.create_task(self._ask(token))
        await eventually(lambda: self._queued == queued)
        return task

    async def held(self) -> None:
        await eventually(lambda: any(one.status is None for one in self.asked("payer")))

    def resume(self) -> None:
        self.hub.faults.clear()

    def asked(self, account: str) -> list[Request]:
        """The requests for the weights made with this account's token."""
        return [
            request
            for request in self.hub.requests[self._since :]
            if "/resolve/" in request.path
            and request.path.endswith(".safetensors")
            and request.account == account
        ]

    @property
    def _queued(self) -> int:
        return wanted(self._place.journal).count(self.model)

    async def _ask(self, token: str) -> str:
        seen = await self._client.chat(self.model, token)
        return seen.code or seen.text


@pytest.fixture
def download(place: Site, client: Client) -> Iterator[Download]:
    download = Download(place, client)
    yield download
    download.resume()


async def leave(task: asyncio.Task[str]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_it_goes_on_for_the_others_when_the_payer_leaves(download: Download) -> None:
    payer = await download.ask(download.token("payer"))
    await download.held()
    heir = await download.ask(download.token("heir"))
    await leave(payer)
    download.resume()
    assert await heir == f"I am {download.model}"
    assert not download.asked("heir")  # finished parts are not fetched again


async def test_the_next_pays_when_the_payers_token_is_refused(download: Download) -> None:
    token = download.token("payer")
    payer = await download.ask(token)
    await download.held()
    twin = await download.ask(token)
    heir, other = [await download.ask(download.token(name)) for name in ("heir", "other")]
    download.hub.expire(token)
    download.resume()
    assert [await payer, await twin] == ["invalid_hf_token"] * 2
    assert [await heir, await other] == [f"I am {download.model}"] * 2
    assert download.asked("heir")
    assert not download.asked("other")


async def test_nobody_is_served_what_nobody_may_read_any_more(
    place: Site, download: Download
) -> None:
    tasks = []
    for account in ("payer", "heir"):
        tasks.append(await download.ask(download.token(account)))
        await download.held()
    for account in ("payer", "heir"):
        download.hub.withdraw(download.model, account)
    download.resume()
    assert [await task for task in tasks] == ["model_not_found"] * 2
    assert not place.harness.journal.events("start", download.model)
