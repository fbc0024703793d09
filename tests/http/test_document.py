"""`/openapi.json` over HTTP: the same checks as `/v1/models`, and the same for everybody."""

from __future__ import annotations

import logging

import orjson
import pytest

from router.access.keyring import Keyring
from router.openapi.document import PATH, document
from tests.http.test_server import code_of, serving


async def test_it_is_served_as_json() -> None:
    async with serving() as running, running.client.get(PATH) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["X-Request-Id"]
        assert orjson.loads(await response.read()) == document()


async def test_it_is_the_same_for_every_caller_and_asks_nothing_of_the_service() -> None:
    async with serving(keys=Keyring({"one", "two"})) as running:
        bodies = set()
        for key in ("one", "two"):
            headers = {"Authorization": f"Bearer {key}", "X-HF-Token": key}
            async with running.client.get(PATH, headers=headers) as response:
                bodies.add(await response.read())
        assert len(bodies) == 1
        assert (running.service.seen, running.service.asked) == ([], [])


async def test_without_one_of_the_keys_it_is_not_shown() -> None:
    async with serving(keys=Keyring({"one"})) as running, running.client.get(PATH) as response:
        assert (response.status, await code_of(response)) == (401, "invalid_api_key")


async def test_a_foreign_page_does_not_get_it() -> None:
    headers = {"Origin": "http://a.example"}
    async with serving() as running, running.client.get(PATH, headers=headers) as response:
        assert (response.status, await code_of(response)) == (403, "origin_not_allowed")


async def test_head_has_its_length_and_no_body() -> None:
    async with serving() as running, running.client.head(PATH) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 10_000


async def test_no_other_method_is_taken() -> None:
    async with serving() as running, running.post(PATH) as response:
        assert (response.status, await code_of(response)) == (405, "method_not_allowed")
        assert response.headers["Allow"] == "GET, HEAD"


async def test_the_access_log_names_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="router.requests")
    async with serving() as running, running.client.get(PATH) as response:
        await response.read()
    assert f"GET {PATH} ok 200" in caplog.text
