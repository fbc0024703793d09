"""Whatever an engine answers, it fails its start or sleep at most. A raw server replaces it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain, repeat
from types import SimpleNamespace

import aiohttp
import pytest

from engines.readiness import EngineFacts, until_locked, until_ready
from engines.sleep import SleepSwitch
from router.models import Task
from router.pool.interfaces import EngineStartError, SleepError

SECRET = secrets.token_hex(16)
KEY = {"Authorization": f"Bearer {SECRET}"}
WITHIN = 90.0  # seconds
USUAL = {
    "/ready": b"",
    "/model_info": b'{"model_path": "/model"}',
    "/v1/models": b'{"data": [{"max_model_len": 4096}]}',
    "/server_info": b"{}",
}
DEEP, LONG = b"[" * 100_000, b'{"model_path": "/model", "more": "' + b"x" * (1 << 21) + b'"}'

Answer = Callable[[str, bool], bytes | None]


@asynccontextmanager
async def engine(answer: Answer) -> AsyncIterator[SimpleNamespace]:
    """An engine that sends `answer(path, signed)` to each request; None: it closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        said = answer(head.split()[1], KEY["Authorization"] in head)
        if said is not None:
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(WITHIN):
        port = server.sockets[0].getsockname()[1]
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", signed=KEY)


def said(content: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{more}Connection: close"
    return f"{head}\r\n\r\n".encode() + content


def usual(changed: dict[str, bytes]) -> Answer:
    def answer(path: str, signed: bool) -> bytes:
        return said((USUAL | changed)[path]) if signed else said(b"", "403 Forbidden")

    return answer


@pytest.mark.parametrize("first", [None, b"nonsense\r\n\r\n"], ids=["closed", "nonsense"])
async def test_an_engine_that_fails_without_the_key_is_asked_again(
    first: bytes | None,
) -> None:
    answers = [first, said(b"", "403 Forbidden")]
    unsigned = chain(answers, repeat(answers[-1]))
    async with (
        engine(lambda _, signed: said(b"") if signed else next(unsigned)) as place,
        aiohttp.ClientSession() as session,
    ):
        await until_locked(session, place, "/ready")
    assert next(unsigned) is answers[-1]


async def test_an_engine_can_not_send_the_check_of_its_lock_elsewhere() -> None:
    async with (
        engine(lambda *_: said(b"", "403 Forbidden")) as locked,
        engine(
            lambda _, signed: (
                said(b"") if signed else said(b"", "302 Found", f"Location: {locked.url}\r\n")
            )
        ) as place,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(EngineStartError, match="to anybody, without the key"):
            await until_locked(session, place, "/ready")


@pytest.mark.parametrize(
    "info", [b"no JSON", b"\xff", DEEP, LONG, b"[]", b"{}", b'{"model_path": ["/model"]}']
)
async def test_an_engine_that_does_not_say_what_it_serves_fails_its_start(info: bytes) -> None:
    async with engine(usual({"/model_info": info})) as place:
        with pytest.raises(EngineStartError) as failure:
            await until_ready(place, "/model", aiohttp.ClientSession)
    assert len(failure.value.reason) < 1000


async def test_an_engine_that_answers_no_http_is_refused_without_its_key() -> None:
    def answer(path: str, signed: bool) -> bytes:
        return b"no HTTP\r\n\r\n" if path == "/model_info" else usual({})(path, signed) or b""

    async with engine(answer) as place:
        with pytest.raises(EngineStartError, match="did not say which model") as failure:
            await until_ready(place, "/model", aiohttp.ClientSession)
    assert SECRET not in failure.value.reason


@pytest.mark.parametrize(
    "length", [b"Infinity", b"NaN", b"-1", b"1e300", b"9" * 400, b'"x"', b"true", DEEP]
)
async def test_an_odd_context_length_is_unknown(length: bytes) -> None:
    models = b'{"data": [{"max_model_len": ' + length + b"}]}"
    async with engine(usual({"/v1/models": models})) as place:
        facts = await until_ready(place, "/model", aiohttp.ClientSession)
    assert facts == EngineFacts(None, {})


async def test_a_usual_engine_tells_its_context_length() -> None:
    async with engine(usual({})) as place:
        facts = await until_ready(place, "/model", aiohttp.ClientSession)
    assert facts.context_length == 4096


async def test_an_engine_that_answers_no_http_fails_to_sleep_without_its_key() -> None:
    async with engine(lambda *_: b"no HTTP\r\n\r\n") as place:
        switch = SleepSwitch(
            place.url, KEY, Task.GENERATE, able=True, sessions=aiohttp.ClientSession
        )
        with pytest.raises(SleepError, match="did not answer") as failure:
            await switch.sleep()
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("encoding", ["hex", "zlib", "no-such"])
async def test_an_error_in_an_impossible_encoding_fails_the_sleep(encoding: str) -> None:
    text = f"Content-Type: text/plain; charset={encoding}\r\n"
    async with engine(lambda *_: said(b"no memory", "500 Error", text)) as place:
        switch = SleepSwitch(
            place.url, KEY, Task.GENERATE, able=True, sessions=aiohttp.ClientSession
        )
        with pytest.raises(SleepError, match="answered 500: no memory"):
            await switch.sleep()
