"""The operator's routes for past events."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator

import orjson
import pytest

from router.http.admin_routes import AdminRoutes
from router.http.past_routes import PastRoutes
from router.secrets import Secret
from tests.http.test_admin_routes import FakeOperations, as_operator
from tests.http.test_server import serving

KEY = secrets.token_hex(16)


PATHS = ("/admin/journal", "/admin/activity", "/admin/models/org/name@main/logs")


class FakePast:
    """`followed`: the models whose logs were followed to their end."""

    def __init__(self) -> None:
        self.followed: list[str] = []

    async def journal(self) -> bytes:
        return b'{"events": []}'

    def activity(self) -> bytes:
        return b'{"running": [], "ended": []}'

    def log(self, name: str) -> bytes:
        return orjson.dumps({"lines": [f"of {name}"]})

    async def follow_log(self, name: str) -> AsyncGenerator[bytes]:
        yield b"event: lines\ndata: {}\n\n"
        self.followed.append(name)


def routes(past: FakePast | None = None) -> tuple[PastRoutes, AdminRoutes]:
    return PastRoutes(past or FakePast()), AdminRoutes(FakeOperations())


async def test_the_operator_reads_what_happened_and_what_was_asked() -> None:
    async with serving(operator=routes()) as running:
        async with running.client.get("/admin/journal") as response:
            assert await response.json() == {"events": []}
        async with running.client.get("/admin/activity") as response:
            assert await response.json() == {"running": [], "ended": []}


async def test_the_operator_reads_and_follows_the_log_of_a_model() -> None:
    past = FakePast()
    async with serving(operator=routes(past)) as running:
        async with running.client.get("/admin/models/org/name@main/logs") as response:
            assert await response.json() == {"lines": ["of org/name@main"]}
        async with running.client.get("/admin/models/org/name/logs?follow=1") as response:
            assert response.content_type == "text/event-stream"
            assert await response.read() == b"event: lines\ndata: {}\n\n"
    assert past.followed == ["org/name"]


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_else_does(path: str) -> None:
    async with serving(operator=routes(), admin_key=Secret(KEY)) as running:
        async with running.client.get(path) as response:
            assert response.status == 401
        async with running.client.get(path, headers=as_operator(KEY)) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_read_and_not_written(path: str) -> None:
    async with serving(operator=routes()) as running, running.client.post(path) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/admin/models/logs", "/admin/models//logs", "/admin/logs"])
async def test_without_a_model_there_is_no_log(path: str) -> None:
    async with serving(operator=routes()) as running, running.client.get(path) as response:
        assert response.status == 404
