"""The requirements of HTTP itself, byte by byte."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import aiohttp
import pytest

from router.access.keyring import Keyring
from router.errors import EngineFailed, ModelGated, ModelNotFound
from tests.fake_service import DONE, EVENT, SSE, Answer, Head, fails, says
from tests.http.test_server import CHAT, raw, serving

REFUSAL = Head(400, {"Content-Type": "application/json", "Content-Length": "2"})
ID = re.compile(rb"(?i)^x-request-id: (\S+)\r$", re.MULTILINE)


def post(version: str, *headers: str, body: str = "{}", path: str = CHAT) -> bytes:
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize("answer", [says(EVENT, DONE, head=SSE), says(b"{}", head=Head(200))])
async def test_an_http_1_0_answer_without_a_length_ends_with_the_connection(
    answer: Answer,
) -> None:
    """A client that asked to keep the connection used to wait until it was reaped."""
    async with serving(answer) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(post("1.0", "Connection: keep-alive"))
        told = await reader.read()
        writer.close()
    assert told.endswith((EVENT + DONE, b"{}"))
    assert b"keep-alive" not in told.lower()


@pytest.mark.parametrize("answer", [fails(ModelNotFound("no")), says(b"no", head=REFUSAL)])
async def test_an_http_1_0_error_has_a_length_and_keeps_the_connection(answer: Answer) -> None:
    async with serving(answer) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for _ in range(2):
            writer.write(post("1.0", "Connection: keep-alive"))
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        writer.close()


@pytest.mark.parametrize(("version", "goes_on"), [("1.1", True), ("1.0", False)])
async def test_only_http_1_1_is_told_to_go_on(version: str, goes_on: bool) -> None:
    async with serving() as running:
        told = await raw(
            running.port, post(version, "Expect: 100-continue", "Connection: close")
        )
        assert told.startswith(b"HTTP/1.1 100 ") == goes_on
        assert b" 200 OK\r\n" in told


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
    ],
)
async def test_headers_that_are_too_large_are_told_so(request_bytes: bytes) -> None:
    async with serving() as running:
        told = await raw(running.port, request_bytes)
        assert b" 431 " in told.partition(b"\r\n")[0]
        assert b"headers_too_large" in told


async def test_a_stream_is_not_held_back_by_a_proxy() -> None:
    head = Head(200, {**SSE.headers, "x-accel-buffering": "no", "cache-control": "no-cache"})
    async with serving(says(EVENT, head=head)) as running, running.post() as response:
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-cache"


# Request ids


@pytest.mark.parametrize(
    "request_bytes",
    [
        post("1.1", "Connection: close"),
        post("1.1", "Connection: close", path="/nowhere"),
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PUT /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"this is not HTTP\r\n\r\n",
    ],
)
async def test_every_answer_has_a_request_id(request_bytes: bytes) -> None:
    async with serving() as running:
        told = [await raw(running.port, request_bytes) for _ in range(2)]
        first, second = (ID.search(one) for one in told)
        assert first is not None
        assert second is not None
        assert first[1] != second[1]


@pytest.mark.parametrize("own", ["abc-123", "req_1.2:3", "a" * 128])
async def test_a_plausible_request_id_is_the_callers(own: str) -> None:
    async with serving() as running, running.post(headers={"X-Request-Id": own}) as response:
        assert response.headers["X-Request-Id"] == own


@pytest.mark.parametrize("own", ["", "a" * 129, "a b", "<script>", "ä", "-a"])
async def test_any_other_request_id_is_replaced(own: str) -> None:
    async with serving() as running, running.post(headers={"X-Request-Id": own}) as response:
        assert response.headers["X-Request-Id"] not in ("", own)


async def test_the_log_names_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving() as running, running.post(headers={"X-Request-Id": "mine"}) as answer:
        await answer.read()
    assert caplog.records[-1].getMessage().endswith(" mine")


@pytest.mark.parametrize(
    ("answer", "logged"),
    [
        (says(b"{}"), "ok 200"),
        (fails(ModelGated("m")), "model_gated 403"),
        (fails(EngineFailed("m"), SSE, EVENT), "engine_failed"),
        (fails(EngineFailed("m"), Head(200, {}), b"{"), "engine_failed"),
    ],
)
async def test_the_log_names_the_error(
    answer: Answer, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serving(answer) as running, running.post() as response:
        with suppress(aiohttp.ClientPayloadError):
            await response.read()
    assert re.match(f"POST {CHAT} {logged} total ", caplog.records[-1].getMessage())


# Aliases


@pytest.mark.parametrize("path", ["/rerank", "/v2/rerank", "/tokenize", "/detokenize"])
async def test_a_route_has_the_further_names_that_clients_use(path: str) -> None:
    async with serving() as running, running.post(path) as response:
        assert response.status == 200
        assert running.service.seen[0].route == path


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_an_error_before_the_service_is_in_the_routes_dialect(path: str) -> None:
    async with serving(keys=Keyring({"right"})) as running, running.post(path) as response:
        assert response.status == 401
        body = await response.json()
        assert body["type"] == "error"
        assert body["error"]["type"] == "authentication_error"


# Refusals before the body was read


UNSENT = "Expect: 100-continue"


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/nowhere", UNSENT, 404),
        (CHAT, "Content-Encoding: gzip", 415),
        (CHAT, "Content-Type: text/plain", 400),
    ],
)
async def test_a_refusal_before_the_body_ends_the_connection(
    path: str, header: str, status: int
) -> None:
    """Clients that held back their body sent their next request in its place."""
    head = post("1.1", header, path=path).removesuffix(b"{}")
    if header.startswith("Content-Type"):
        head = head.replace(b"Content-Type: application/json\r\n", b"")
    async with serving() as running:
        told = await raw(running.port, head)
    assert told.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in told


async def test_a_refusal_after_the_body_keeps_the_connection() -> None:
    async with serving() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for _ in range(2):
            writer.write(post("1.1", path="/nowhere"))
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        writer.close()
