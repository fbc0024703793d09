"""A Hub whose answers lead to another origin: no token is sent there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from yarl import URL

from tests.e2e_runpod.harness import QueueHarness
from tests.loopback_hub import LoopbackHub
from tests.security.harness import SERVED, Site, site

MANY = tuple(f"more-{number}.json" for number in range(9))  # on several pages


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness) -> Iterator[Site]:
    with site(harness, request.param, MAX_LOADED_MODELS="4") as place:
        yield place


@pytest.fixture
def hub(place: Site) -> Iterator[LoopbackHub]:
    hub = place.harness.hub
    yield hub
    hub.link_by(str)
    hub.list_elsewhere(None)


def told_elsewhere(hub: LoopbackHub) -> list[str]:
    """The requests with a token to the other origin, which serves files to everybody."""
    home = urlsplit(hub.endpoint).netloc
    return [one.path for one in hub.requests if one.host != home and one.account is not None]


def other_port(hub: LoopbackHub) -> Callable[[URL], str]:
    return lambda url: hub.cdn + url.raw_path_qs


def other_host(hub: LoopbackHub) -> Callable[[URL], str]:
    return lambda url: f"//127.0.0.1:{url.port}{url.raw_path_qs}"


def with_a_user(hub: LoopbackHub) -> Callable[[URL], str]:
    return lambda url: str(url.with_user("user").with_password("word"))


def relative(hub: LoopbackHub) -> Callable[[URL], str]:
    return lambda url: url.raw_path_qs


@pytest.mark.parametrize("link", [other_port, other_host, with_a_user, relative])
async def test_a_listing_that_goes_on_elsewhere_is_read_at_home(
    place: Site, hub: LoopbackHub, link: Callable[[LoopbackHub], Callable[[URL], str]]
) -> None:
    name = f"acme/{link.__name__}-{place.kind}".replace("_", "-")
    place.harness.model(name, private=True, further=MANY)
    hub.link_by(link(hub))
    async with place.client() as client:
        seen = await client.chat(name, hub.add_account("acme"))
    assert seen.text == f"I am {name}"
    assert not told_elsewhere(hub)
    hosts = {one.host for one in hub.requests if "/tree/" in one.path}
    assert hosts == {urlsplit(hub.endpoint).netloc}


async def test_a_listing_that_is_elsewhere_is_not_read(place: Site, hub: LoopbackHub) -> None:
    name = place.harness.model(f"acme/away-{place.kind}", private=True)
    hub.list_elsewhere(f"{hub.cdn}/api/models/{name}/tree/main")
    async with place.client() as client:
        seen = await client.chat(name, hub.add_account("acme"))
    assert seen.code not in (SERVED, "internal_error")
    assert not told_elsewhere(hub)
    assert "/tree/" not in "".join(one.path for one in hub.requests if one.host in hub.cdn)
