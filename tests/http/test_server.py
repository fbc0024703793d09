import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import openai
import orjson
import pytest

from router import errors
from router.access.keyring import Keyring
from router.http.server import HttpServer
from router.requests.dialects import OPENAI, Problem
from router.requests.interfaces import Health
from router.requests.request import Request
from tests.fake_service import (
    DONE,
    EVENT,
    SSE,
    Answer,
    FakeService,
    Head,
    Piece,
    fails,
    hangs,
    says,
)

Json = dict[str, object]

DEADLINE = 60.0  # seconds; a test that hangs fails
CHAT = "/v1/chat/completions"
# Another address of this machine: a port that is taken on 127.0.0.1 is free here.
ELSEWHERE = "127.0.0.2"


class Running:
    def __init__(self, service: FakeService, server: HttpServer, port: int) -> None:
        self.service = service
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = aiohttp.ClientSession(self.url)

    def post(self, path: str = CHAT, **kwargs: object) -> aiohttp.client._RequestContextManager:
        return self.client.post(path, **({"json": {}} | kwargs))  # type: ignore[arg-type]


@asynccontextmanager
async def serving(answer: Answer | None = None, **options: object) -> AsyncIterator[Running]:
    service = FakeService(answer)
    server = HttpServer(service, **options)  # type: ignore[arg-type]
    running = Running(service, server, await server.start("127.0.0.1", 0))
    try:
        async with asyncio.timeout(DEADLINE), running.client:
            yield running
    finally:
        await server.stop(0.01)


async def raw(port: int, data: bytes) -> bytes:
    """Send bytes. Read until the server closes, or has sent a whole small answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.read(65536)
    finally:
        writer.close()


async def code_of(response: aiohttp.ClientResponse) -> str:
    body = orjson.loads(await response.read())
    assert response.content_type == "application/json"
    assert body["error"].keys() >= {"message", "type", "param", "code"}
    return str(body["error"]["code"])


# Answers


async def test_an_answer_passes_byte_for_byte_with_its_length() -> None:
    body = bytes(range(256))
    async with serving(says(body[:7], body[7:])) as running, running.post() as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == "256"
        assert await response.read() == body


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/ping", "/none"])
async def test_each_answer_says_by_which_id_a_load_balancer_knows_the_worker(path: str) -> None:
    for id_ in ("", "w1"):
        async with serving(worker=id_) as s, s.client.get(path) as got:
            assert got.headers.get("X-Runpod-Worker-Id", "") == id_


async def test_the_service_sees_route_body_and_token() -> None:
    token = "hf_" + secrets.token_hex(16)
    async with serving() as running:
        body = b'{"model":  "org/name"}'
        headers = {"X-HF-Token": token, "Content-Type": "application/json"}
        async with running.post(json=None, data=body, headers=headers) as response:
            await response.read()
        assert running.service.seen == [Request(CHAT, body, token, "")]


async def test_a_token_elsewhere_is_not_read() -> None:
    async with serving() as running:
        token = "hf_" + secrets.token_hex(16)
        headers = {"Authorization": f"Bearer {token}"}
        async with running.post(f"{CHAT}?hf_token={token}", headers=headers) as response:
            assert response.status == 200
        assert running.service.seen[0].hf_token is None
        assert token not in repr(running.service.seen)


async def test_a_stream_arrives_as_it_is_made() -> None:
    more = asyncio.Event()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        yield EVENT
        await more.wait()
        yield DONE

    async with serving(answer) as running, running.post() as response:
        assert await response.content.readany() == EVENT
        more.set()
        assert await response.read() == DONE


async def test_a_client_without_chunks_gets_a_stream_that_ends_with_the_connection() -> None:
    async with serving(says(EVENT, DONE, head=SSE)) as running:
        head = f"POST {CHAT} HTTP/1.0\r\nContent-Type: application/json\r\n"
        told = await raw(running.port, f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        assert told.endswith(b"\r\n\r\n" + EVENT + DONE)


# Errors


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (errors.InvalidRequest("m"), openai.BadRequestError),
        (errors.InvalidHfToken("m"), openai.AuthenticationError),
        (errors.ModelGated("m"), openai.PermissionDeniedError),
        (errors.ModelNotFound("m"), openai.NotFoundError),
        (errors.UnsupportedModel("m"), openai.UnprocessableEntityError),
        (errors.QueueFull("m", retry_after=7), openai.RateLimitError),
        (errors.ModelLoading("m", retry_after=7), openai.InternalServerError),
        (errors.EngineFailed("m"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_openais_client_raises_what_its_users_expect(
    error: errors.RouterError, raised: type[openai.APIStatusError], stream: bool
) -> None:
    async with (
        serving(fails(error)) as running,
        openai.AsyncOpenAI(
            base_url=f"{running.url}/v1", api_key="none", max_retries=0
        ) as client,
    ):
        with pytest.raises(raised) as caught:
            await client.chat.completions.create(model="org/name", messages=[], stream=stream)
        assert caught.value.code == error.code
        assert caught.value.status_code == error.status
        assert caught.value.response.content == OPENAI.body(Problem.of(error))
        after = caught.value.response.headers.get("retry-after")
        assert after == (None if error.retry_after is None else "7")


async def test_openais_client_reads_a_stream() -> None:
    async with (
        serving(says(EVENT, EVENT, DONE, head=SSE)) as running,
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none") as client,
    ):
        stream = await client.chat.completions.create(model="a/b", messages=[], stream=True)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["hi", "hi"]


async def test_openais_client_learns_of_a_stream_that_failed() -> None:
    answer = fails(errors.EngineFailed("the engine died"), SSE, EVENT)
    async with (
        serving(answer) as running,
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none") as client,
    ):
        stream = await client.chat.completions.create(model="a/b", messages=[], stream=True)
        with pytest.raises(openai.APIError, match="the engine died") as caught:
            [chunk async for chunk in stream]
        assert caught.value.code == "engine_failed"


async def test_openais_client_lists_models() -> None:
    async with (
        serving() as running,
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none") as client,
    ):
        assert [model.id async for model in client.models.list()] == ["org/name"]
        assert (await client.models.retrieve("org/name@v1")).id == "org/name@v1"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("other/name")


@pytest.mark.parametrize("headers", [{}, {"content-length": "100"}])
@pytest.mark.parametrize("error", [errors.EngineFailed("m"), ValueError("m")])
async def test_an_answer_that_is_no_stream_visibly_breaks_off(
    error: Exception, headers: dict[str, str]
) -> None:
    head = Head(200, {"content-type": "application/json", **headers})
    async with serving(fails(error, head, b"{")) as running, running.post() as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize("error", [ValueError, ConnectionError, TimeoutError])
async def test_a_defect_is_told_without_details_and_logged(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(fails(error("/root/secret"))) as running, running.post() as response:
        assert response.status == 500
        assert await code_of(response) == "internal_error"
        assert "secret" not in await response.text()
    assert "Traceback" in caplog.text


# Callers that leave


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="while queued"),
        pytest.param([SSE, EVENT], id="in mid-stream"),
        pytest.param(
            [Head(200, {"content-length": "9"}), b"a"], id="in an answer of known length"
        ),
    ],
)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_caller_who_leaves_ends_the_request_at_once(
    parts: list[Piece], how: str
) -> None:
    async with serving(hangs(*parts)) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        await running.service.began.wait()
        getattr(writer.transport, how)()
        await running.service.closed.wait()


async def test_a_caller_who_does_not_read_holds_back_the_engine() -> None:
    made = 0

    async def flood(_: Request) -> AsyncGenerator[Piece, None]:
        nonlocal made
        yield SSE
        while True:
            made += 1
            yield b"x" * 65536

    async with serving(flood) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        await running.service.began.wait()
        before = -1
        while before != made:  # until the sockets' buffers are full
            before = made
            await asyncio.sleep(0.05)
        assert made < 1000
        writer.transport.abort()
        await running.service.closed.wait()


# Refused requests


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/files", "/server_info", "/v1/models2"])
async def test_an_unknown_route_is_refused(path: str) -> None:
    async with serving() as running, running.post(path) as response:
        assert response.status == 404
        assert await code_of(response) == "route_not_found"
        assert running.service.seen == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", "/generate", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/org/name", "GET, HEAD"),
        ("POST", "/ping", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(
    method: str, path: str, allowed: str
) -> None:
    async with serving() as running, running.client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed
        assert await code_of(response) == "method_not_allowed"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""])
async def test_a_body_that_is_not_called_json_is_refused(kind: str) -> None:
    async with serving() as running:
        headers = {"Content-Type": kind}
        async with running.post(json=None, data=b"{}", headers=headers) as response:
            assert response.status == 400
            assert await code_of(response) == "invalid_request"


async def test_a_compressed_body_is_refused() -> None:
    async with serving() as running:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        async with running.post(json=None, data=b"\x1f\x8b", headers=headers) as response:
            assert response.status == 415
            assert response.headers["Accept-Encoding"] == "identity"
            assert await code_of(response) == "unsupported_encoding"


async def test_a_token_given_twice_is_refused() -> None:
    async with serving() as running:
        headers = [("X-HF-Token", "hf_aaaaaaaa"), ("X-HF-Token", "hf_bbbbbbbb")]
        async with running.post(headers=headers) as response:
            assert await code_of(response) == "invalid_request"
        async with running.client.get("/v1/models", headers=headers) as response:
            assert await code_of(response) == "invalid_request"
        assert running.service.seen == []


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(chunked: bool) -> None:
    async with serving(max_body=1000) as running:
        headers = {"Content-Type": "application/json"}
        for count, status in ((10, 200), (11, 413)):
            data = chunks(count) if chunked else b"x" * 100 * count
            async with running.post(json=None, data=data, headers=headers) as response:
                assert response.status == status
                if status == 413:
                    assert await code_of(response) == "body_too_large"


async def test_a_body_announced_as_too_large_is_refused_before_it_is_sent() -> None:
    async with serving(max_body=1000) as running:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        told = await raw(running.port, f"{head}Content-Length: 1001\r\n\r\n".encode())
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b"body_too_large" in told


async def test_a_caller_who_asks_before_sending_is_told_to_go_on() -> None:
    async with serving() as running, running.post(expect100=True) as response:
        assert response.status == 200


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async with serving(upload_timeout=0.05) as running:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        told = await raw(running.port, f"{head}Content-Length: 10\r\n\r\n{{".encode())
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in told
        assert b"did not arrive" in told


# What is never repeated to anybody


@pytest.mark.parametrize(
    "request_of",
    [
        lambda mark: f"GET /ping HTTP/1.1\r\nX-HF-Token: {mark}{'a' * 9000}\r\n\r\n",
        lambda mark: f"GET /ping?t={mark}{'a' * 9000} HTTP/1.1\r\n\r\n",
        lambda mark: f"GET /ping HTTP/1.1\r\nX-HF-Token {mark}\r\n\r\n",
        lambda mark: f"GET /ping HTTP/1.1\r\nX-HF-Token: {mark}\x00\r\n\r\n",
        lambda mark: f"GET /ping HTTP/1.1\r\n{mark}: 1\r\nContent-Length: {mark}\r\n\r\n",
        lambda mark: f"{mark} /ping\r\n\r\n",
        lambda mark: f"{mark} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        lambda mark: f"GET /{mark} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        lambda mark: (
            f"POST {CHAT}?key={mark} HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\n"
            f"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{mark}\r\n"
        ),
        lambda mark: (
            f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {mark}\r\n"
            "Connection: close\r\n\r\n"
        ),
    ],
)
async def test_a_malformed_request_is_answered_and_logged_without_its_content(
    request_of: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mark = "hf_" + secrets.token_hex(16)
    async with serving(keys=Keyring({"right"})) as running:
        told = await raw(running.port, request_of(mark).encode())
    assert b'{"error":{"message":' in told
    assert mark[3:].encode() not in told
    assert mark[3:] not in caplog.text


async def test_a_request_is_logged_in_one_line_without_its_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as running, running.post(f"{CHAT}?secret=1") as response:
        await response.read()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"POST {CHAT} ok 200 ")
    assert "secret" not in line


# API keys


async def test_without_keys_everyone_is_served_and_nobody_told_apart() -> None:
    async with serving() as running, running.post() as response:
        assert response.status == 200
        assert running.service.seen[0].caller == ""


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (CHAT, {"Authorization": "Bearer one"}, 200),
        (CHAT, {"Authorization": "bearer two"}, 200),
        (CHAT, {}, 401),
        (CHAT, {"Authorization": "Bearer three"}, 401),
        (CHAT, {"Authorization": "Basic one"}, 401),
        (CHAT, {"Authorization": "one"}, 401),
        (CHAT, {"Authorization": "Bearer "}, 401),
        (CHAT, {"x-api-key": "one"}, 200),
        (CHAT, {"x-api-key": "three"}, 401),
        ("/nowhere", {}, 401),
    ],
)
async def test_a_key_opens_every_route(path: str, headers: dict[str, str], status: int) -> None:
    async with (
        serving(keys=Keyring({"one", "two"})) as running,
        running.post(path, headers=headers) as response,
    ):
        assert response.status == status
        if status == 401:
            assert await code_of(response) == "invalid_api_key"
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (
            {"Authorization": 'Bearer "one"'},
            "wrong (this one stands in quotes: leave them out):",
        ),
        ({"x-api-key": "Bearer one"}, "(this one begins with `Bearer `: leave that out):"),
        ({"x-api-key": "three"}, "missing or wrong: send"),
    ],
)
async def test_what_was_done_wrong_with_a_key_is_named(
    headers: dict[str, str], says: str
) -> None:
    async with (
        serving(keys=Keyring({"one"})) as running,
        running.post(headers=headers) as response,
    ):
        assert response.status == 401
        assert says in await response.text()


async def test_callers_are_told_apart_without_showing_their_keys() -> None:
    async with serving(keys=Keyring({"one", "two"})) as running:
        for key in ("one", "two", "one"):
            async with running.post(headers={"Authorization": f"Bearer {key}"}) as response:
                await response.read()
        first, second, third = (request.caller for request in running.service.seen)
        assert first == third != second
        assert "one" not in first
        assert not hashlib.sha256(b"one").hexdigest().startswith(first)


@pytest.mark.parametrize("path", ["/ping", "/health"])
async def test_health_needs_no_key(path: str) -> None:
    async with serving(keys=Keyring({"one"})) as running, running.client.get(path) as response:
        assert response.status == 200


# Health and models


@pytest.mark.parametrize(
    ("ready", "leaving", "ping", "health"),
    [
        (False, False, 204, (503, "starting")),
        (True, False, 200, (200, "ready")),
        (True, True, 503, (503, "leaving")),
        (False, True, 503, (503, "leaving")),
    ],
)
async def test_health_is_told_as_runpod_reads_it(
    ready: bool, leaving: bool, ping: int, health: tuple[int, str]
) -> None:
    async with serving() as running:
        running.service.state = Health(ready=ready, leaving=leaving)
        async with running.client.get("/ping") as response:
            assert (response.status, await response.read()) == (ping, b"")
        async with running.client.get("/health") as response:
            assert (response.status, (await response.json())["status"]) == health
        async with running.client.head("/health") as response:
            assert response.status == health[0]


async def test_the_health_port_serves_health_alone() -> None:
    async with serving() as running, serving() as other:
        with_health = HttpServer(running.service)
        await with_health.start(ELSEWHERE, running.port, health_port=other.port)
        try:
            for path, status in (("/ping", 200), ("/v1/models", 404), (CHAT, 404)):
                url = f"http://{ELSEWHERE}:{other.port}{path}"
                async with running.client.get(url) as response:
                    assert response.status == status
        finally:
            await with_health.stop(0)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("org/name", "org/name"),
        ("org%2Fname", "org/name"),
        ("org/name@refs%2Fpr%2F1", "org/name@refs/pr/1"),
        ("org/name%40v1?x=1", "org/name@v1"),
        ("org/name%2540v1", "org/name%40v1"),
    ],
)
async def test_a_model_is_asked_for_by_its_id(path: str, name: str) -> None:
    async with serving() as running:
        told = await raw(
            running.port,
            f"GET /v1/models/{path} HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\n\r\n".encode(),
        )
        assert running.service.asked == [(name, None)]
        assert orjson.loads(told.partition(b"\r\n\r\n")[2])["id"] == name


async def test_a_models_callers_token_is_passed_on() -> None:
    async with serving() as running:
        async with running.client.get("/v1/models", headers={"X-HF-Token": "mine"}) as response:
            assert (await response.json())["object"] == "list"
        assert running.service.asked == [(None, "mine")]


# Leaving


async def test_a_taken_health_port_leaves_no_listener_behind() -> None:
    async with serving() as running, serving() as other:
        taken = HttpServer(running.service)
        await taken.start(ELSEWHERE, other.port)
        with pytest.raises(OSError):  # noqa: PT011
            await HttpServer(running.service).start(ELSEWHERE, running.port, other.port)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(ELSEWHERE, running.port)
        await taken.stop(0)


async def test_stopping_waits_for_running_requests_and_takes_no_more() -> None:
    more = asyncio.Event()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        await more.wait()
        yield DONE

    async with serving(answer) as running, running.post() as response:
        stopping = asyncio.create_task(running.server.stop(DEADLINE))
        await asyncio.sleep(0)
        with pytest.raises(OSError):  # noqa: PT011
            await asyncio.open_connection("127.0.0.1", running.port)
        assert not stopping.done()
        more.set()
        assert await response.read() == DONE
        await stopping


async def test_stopping_cuts_off_what_is_late() -> None:
    async with serving(hangs(SSE, EVENT)) as running, running.post() as response:
        assert await response.content.readany() == EVENT
        await running.server.stop(0.01)
        assert running.service.closed.is_set()
        with pytest.raises(aiohttp.ClientError):
            await response.content.readany()


async def test_stopping_closes_idle_connections() -> None:
    async with serving() as running:
        async with running.post() as response:
            await response.read()
        await running.server.stop(DEADLINE)
