"""The operator's routes for what has happened."""

from __future__ import annotations

import secrets

from router.http.past_routes import PastRoutes
from router.secrets import Secret
from tests.http.test_admin_routes import as_operator
from tests.http.test_server import serving

KEY = secrets.token_hex(16)


class FakeHistory:
    def journal(self) -> bytes:
        return b'{"events": []}'


async def test_the_operator_reads_what_happened() -> None:
    async with serving(operator=(PastRoutes(FakeHistory()),)) as running:
        async with running.client.get("/admin/journal") as response:
            assert await response.json() == {"events": []}
        async with running.client.post("/admin/journal") as response:
            assert response.status == 405


async def test_nobody_else_does() -> None:
    routes = (PastRoutes(FakeHistory()),)
    async with serving(operator=routes, admin_key=Secret(KEY)) as running:
        async with running.client.get("/admin/journal") as response:
            assert response.status == 401
        async with running.client.get("/admin/journal", headers=as_operator(KEY)) as response:
            assert response.status == 200
