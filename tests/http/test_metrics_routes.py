from __future__ import annotations

import secrets

import pytest

from router.access.keyring import Keyring
from router.http.metrics_routes import MetricsRoutes
from router.secrets import Secret
from tests.http.test_server import Running, serving

KEY, CALLERS = secrets.token_hex(16), secrets.token_hex(16)
TEXT = b"router_requests_total 1\n"


class FakeMetrics:
    async def text(self) -> bytes:
        return TEXT


async def scrape(running: Running, key: str | None, method: str = "GET") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with running.client.request(method, "/metrics", headers=headers) as response:
        return response.status, await response.read()


async def test_the_operator_reads_the_metrics() -> None:
    routes = (MetricsRoutes(FakeMetrics()),)
    async with serving(operator=routes, admin_key=Secret(KEY)) as running:
        assert await scrape(running, KEY) == (200, TEXT)
        assert (await scrape(running, KEY, "POST"))[0] == 405


@pytest.mark.parametrize("key", [None, "wrong", CALLERS], ids=["none", "wrong", "a caller"])
async def test_nobody_else_does(key: str | None) -> None:
    routes = (MetricsRoutes(FakeMetrics()),)
    async with serving(
        operator=routes, keys=Keyring({CALLERS}), admin_key=Secret(KEY)
    ) as running:
        status, body = await scrape(running, key)
    assert status == 401
    assert TEXT not in body


async def test_without_the_operators_key_callers_with_keys_find_nothing() -> None:
    routes = (MetricsRoutes(FakeMetrics()),)
    async with serving(operator=routes, keys=Keyring({CALLERS})) as running:
        assert (await scrape(running, CALLERS))[0] == 404
