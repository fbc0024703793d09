"""The operator's routes exist for the operator only."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from yarl import URL

from router.access.keyring import Keyring
from router.errors import QueueFull
from router.http.admin_routes import AdminRoutes
from router.secrets import Secret
from tests.http.test_server import Running, code_of, serving

KEY, CALLERS = secrets.token_hex(16), secrets.token_hex(16)
ROUTES = (
    *("/admin/state", "/admin/events", "/admin/drain", "/admin/nothing", "/admin/"),
    *("/admin/models/org/name/unload", "/admin/models/org/name/load"),
)


class FakeOperations:
    """`ended` is set once the listener is gone."""

    def __init__(self, refusal: QueueFull | None = None) -> None:
        self._refusal = refusal
        self.ended = asyncio.Event()
        self.told: list[str] = []

    async def state(self) -> bytes:
        return b'{"now": 1}'

    async def load(self, name: str, *, wait: bool) -> bytes:
        return self._told(f"load {name} {wait}")

    def unload(self, name: str) -> bytes:
        return self._told(f"unload {name}")

    def pin(self, name: str) -> bytes:
        return self._told(f"pin {name}")

    def unpin(self, name: str) -> bytes:
        return self._told(f"unpin {name}")

    async def reload(self) -> bytes:
        return self._told("reload")

    def known(self, name: str) -> str:
        return name if name == "org/name" else ""

    def drain(self) -> None:
        self._told("drain")

    def _told(self, what: str) -> bytes:
        self.told.append(what)
        return b"{}"

    async def events(self) -> AsyncGenerator[bytes]:
        if self._refusal:
            raise self._refusal
        try:
            yield b"event: state\ndata: {}\n\n"
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def as_operator(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def answer(running: Running, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """An answer without the parts that always differ."""
    async with running.client.request(method, path, headers=headers) as response:
        return response.status, await response.read()


def routes(operations: FakeOperations | None = None) -> tuple[AdminRoutes]:
    return (AdminRoutes(operations or FakeOperations()),)


async def test_the_operator_sees_the_state() -> None:
    async with serving(operator=routes(), admin_key=Secret(KEY)) as running:
        assert await answer(running, "GET", "/admin/state", **as_operator()) == (
            200,
            b'{"now": 1}',
        )
        assert await answer(running, "HEAD", "/admin/state", **as_operator()) == (200, b"")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        as_operator(CALLERS),
        as_operator("wrong"),
        {"Authorization": f"Basic {KEY}"},
        {"X-HF-Token": KEY},
    ],
    ids=["no key", "a caller's", "wrong", "not bearer", "as a token"],
)
async def test_with_a_key_all_others_get_the_same_401_for_every_route(
    path: str, headers: dict[str, str]
) -> None:
    options: dict[str, Any] = {"operator": routes(), "admin_key": Secret(KEY)}
    async with (
        serving(**options, keys=Keyring([CALLERS])) as running,
        running.client.get(path, headers=headers) as response,
    ):
        assert response.status == 401
        assert await code_of(response) == "invalid_api_key"


async def test_the_operators_key_is_no_callers_key() -> None:
    options: dict[str, Any] = {"operator": routes(), "admin_key": Secret(KEY)}
    async with serving(**options, keys=Keyring([CALLERS])) as running:
        assert (await answer(running, "GET", "/v1/models", **as_operator()))[0] == 401


@pytest.mark.parametrize("path", ROUTES)
async def test_where_callers_need_keys_and_there_is_no_key_the_routes_do_not_exist(
    path: str,
) -> None:
    async with serving(operator=routes(), keys=Keyring([CALLERS])) as running:
        unknown = await answer(running, "GET", "/v1/nothing", **as_operator(CALLERS))
        assert unknown[0] == 404
        assert await answer(running, "GET", path, **as_operator(CALLERS)) == unknown


@pytest.mark.parametrize("path", ROUTES)
async def test_to_what_comes_through_a_proxy_the_routes_do_not_exist(path: str) -> None:
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    async with serving(operator=routes()) as running:
        unknown = await answer(running, "GET", "/v1/nothing", **proxied)
        assert unknown[0] == 404
        assert await answer(running, "GET", path, **proxied) == unknown


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example"}, 421),
        ({"Origin": "https://page.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
async def test_foreign_hosts_and_web_pages_get_nothing(
    headers: dict[str, str], status: int
) -> None:
    async with serving(operator=routes()) as running:
        assert (await answer(running, "GET", "/admin/state", **headers))[0] == status
    async with serving(operator=routes(), admin_key=Secret(KEY)) as running:
        told = headers | as_operator()
        assert (await answer(running, "GET", "/admin/state", **told))[0] == status


async def test_on_loopback_without_any_keys_the_operator_needs_none() -> None:
    async with serving(operator=routes()) as running:
        assert (await answer(running, "GET", "/admin/state"))[0] == 200


async def test_a_wrong_method_and_an_unknown_route_are_told_to_the_operator() -> None:
    async with serving(operator=routes()) as running:
        async with running.client.post("/admin/state") as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        async with running.client.get("/admin/nothing") as response:
            assert response.status == 404
            assert "/admin/events" in (await response.text())


@pytest.mark.parametrize(
    ("path", "told", "status"),
    [
        ("/admin/models/org/name/load", "load org/name False", 202),
        ("/admin/models/org/name/load?wait=1", "load org/name True", 200),
        ("/admin/models/org/name@feature/x/unload", "unload org/name@feature/x", 200),
        ("/admin/models/org%2Fname%40v1/pin", "pin org/name@v1", 200),
        ("/admin/models/alias/unpin", "unpin alias", 200),
        ("/admin/drain", "drain", 202),
        ("/admin/reload", "reload", 200),
    ],
)
async def test_the_operator_posts_what_is_to_be_done(path: str, told: str, status: int) -> None:
    operations = FakeOperations()
    async with serving(operator=routes(operations)) as running:
        url = URL(f"{running.url}{path}", encoded=True)
        async with running.client.post(url) as response:
            assert response.status == status
        assert operations.told == [told]
        async with running.client.get(url) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert operations.told == [told]


@pytest.mark.parametrize(
    "path",
    ["/admin/models/unload", "/admin/models//unload", "/admin/models/org/name", "/admin/load"],
)
async def test_what_names_no_model_or_no_deed_is_no_route(path: str) -> None:
    operations = FakeOperations()
    async with serving(operator=routes(operations)) as running:
        async with running.client.post(path) as response:
            assert response.status == 404
        assert operations.told == []


async def test_strangers_have_nothing_done() -> None:
    operations = FakeOperations()
    options: dict[str, Any] = {"operator": routes(operations), "admin_key": Secret(KEY)}
    async with serving(**options) as running:
        for path in ("/admin/drain", "/admin/models/org/name/unload"):
            assert (await answer(running, "POST", path))[0] == 401
    async with serving(operator=routes(operations), keys=Keyring([CALLERS])) as running:
        told = as_operator(CALLERS)
        assert (await answer(running, "POST", "/admin/drain", **told))[0] == 404
    assert operations.told == []


async def test_events_come_as_they_are_made_and_end_when_the_listener_leaves() -> None:
    operations = FakeOperations()
    async with serving(operator=routes(operations)) as running:
        async with running.client.get("/admin/events") as response:
            assert response.content_type == "text/event-stream"
            assert await response.content.readuntil(b"\n\n") == b"event: state\ndata: {}\n\n"
        await operations.ended.wait()


async def test_one_listener_too_many_is_told_so() -> None:
    operations = FakeOperations(QueueFull("too many"))
    async with (
        serving(operator=routes(operations)) as running,
        running.client.get("/admin/events") as response,
    ):
        assert response.status == 429
        assert await code_of(response) == "queue_full"


async def test_the_log_names_no_model_of_an_operators_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "router.requests")
    async with serving(operator=routes()) as running:
        await answer(running, "POST", "/admin/models/acme/secret/unload")
        await answer(running, "POST", "/admin/models/org/name/pin")
        await answer(running, "POST", "/admin/reload")
    # A path can be anything, so the log names only models that the worker knows.
    assert "POST /admin/models/{id}/unload ok 200 total" in caplog.text
    assert "secret" not in caplog.text
    assert "POST /admin/models/{id}/pin ok 200 org/name total" in caplog.text
    assert "POST /admin/reload ok 200 total" in caplog.text
