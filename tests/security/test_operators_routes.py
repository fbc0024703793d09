"""Only the operator sees information about all models, whatever others try."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.worker import Worker

HIDDEN = "acme/hidden"
OPERATORS, CALLERS = secrets.token_hex(16), secrets.token_hex(16)
TELLING = (
    "/metrics",
    "/admin/state",
    "/admin/events",
    "/admin/journal",
    "/admin/activity",
    "/admin/models/acme/hidden/logs",
)
PAGE = ("/ui/", "/ui/app.js")
_PATIENCE = 90.0  # seconds


@dataclass(frozen=True)
class Attempt:
    """A way to request a path. `prefix` and `query` are put before and after it."""

    method: str = "GET"
    prefix: str = ""
    query: str = ""
    host: str = ""  # default: the server's
    encoded: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def path(self, path: str) -> str:
        if self.encoded:
            path = path.replace("a", "%61").replace("m", "%6D")
        return f"{self.prefix}{path}{self.query}"


def with_headers(**headers: str) -> Attempt:
    return Attempt(headers={name.replace("_", "-"): value for name, value in headers.items()})


# Without the operator's key, or with it in a place where it does not count.
STRANGERS = {
    "nothing": Attempt(),
    "a caller's key": with_headers(Authorization=f"Bearer {CALLERS}"),
    "a caller's x-api-key": with_headers(x_api_key=CALLERS),
    "the key as a Hub token": with_headers(X_HF_Token=OPERATORS),
    "the key in a cookie": with_headers(Cookie=f"x-api-key={OPERATORS}"),
    "the key as a password": with_headers(Authorization=f"Basic {OPERATORS}"),
    "the key for a proxy": with_headers(Proxy_Authorization=f"Bearer {OPERATORS}"),
    "the key in the query": Attempt(query=f"?api_key={OPERATORS}&x-api-key={OPERATORS}"),
    "HEAD": Attempt("HEAD"),
    "TRACE": Attempt("TRACE"),
    "a caller's HEAD": Attempt("HEAD", headers={"x-api-key": CALLERS}),
    "encoded": Attempt(encoded=True),
    "an absolute address": Attempt(prefix="http://localhost"),
}
# Refused even on this machine, where the operator needs no key.
ELSEWHERE = {
    "a host that was rebound": Attempt(host="rebound.example"),
    "a host that begins like this one": Attempt(host="127.0.0.1.rebound.example"),
    "a host with a user": Attempt(host="127.0.0.1@rebound.example"),
    "any address": Attempt(host="0.0.0.0"),
    "an absolute address of another host": Attempt(prefix="http://rebound.example"),
    "a page of another site": with_headers(Origin="https://page.example"),
    "a page of no site": with_headers(Origin="null"),
    "a fetch across sites": with_headers(Sec_Fetch_Site="cross-site"),
    "a fetch of a sister site": with_headers(Sec_Fetch_Site="same-site"),
    "a preflight": Attempt(
        "OPTIONS",
        headers={"Origin": "https://page.example", "Access-Control-Request-Method": "GET"},
    ),
    "a proxy": with_headers(X_Forwarded_For="203.0.113.9"),
    "a proxy that says that it is here": with_headers(X_Forwarded_For="127.0.0.1"),
    "a proxy, by the standard": with_headers(Forwarded="for=127.0.0.1"),
    "a proxy that hides the caller": with_headers(Via="1.1 proxy"),
    "a network of proxies": with_headers(Fastly_Client_IP="203.0.113.9"),
    "two slashes": Attempt(prefix="/"),
    "a way up": Attempt(prefix="/v1/.."),
}
DOORS = {
    "with a key": {"ADMIN_API_KEY": OPERATORS, "API_KEYS": CALLERS},
    "with a key for callers alone": {"API_KEYS": CALLERS},
    "without keys": {},
}


@pytest.fixture(scope="module")
def token(harness: Harness) -> str:
    harness.model(HIDDEN, private=True)
    return harness.hub.add_account("acme")


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def worker(harness: Harness, token: str, door: str) -> Iterator[Worker]:
    """A worker with a stranger's private model loaded."""

    async def ask(url: str) -> int:
        async with calling(url) as caller:
            return (await caller.chat(HIDDEN, token=token, key=CALLERS)).status

    with harness.worker(STANDBY_ENGINES="0", **DOORS[door]) as worker:
        assert asyncio.run(ask(worker.url)) == 200
        yield worker


def answer(url: str, attempt: Attempt, path: str) -> bytes:
    """Send these exact bytes, unlike any client would, and read the answer."""
    parts = urlsplit(url)
    lines = [
        f"{attempt.method} {attempt.path(path)} HTTP/1.1",
        f"Host: {attempt.host or parts.netloc}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in attempt.headers.items()),
    ]
    with socket.create_connection((parts.hostname, parts.port), _PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as stream:
            return stream.read()


def tells_nothing(worker: Worker, attempt: Attempt, paths: tuple[str, ...]) -> None:
    for path in paths:
        told = answer(worker.url, attempt, path)
        assert told.split(b" ", 2)[1] in (b"400", b"401", b"403", b"404", b"405", b"421"), path
        assert b"hidden" not in told
        assert b"engine" not in told
        assert b"access-control-allow" not in told.lower()


@pytest.mark.parametrize("attempt", ELSEWHERE.values(), ids=ELSEWHERE)
def test_from_elsewhere_nothing_is_told(worker: Worker, attempt: Attempt) -> None:
    tells_nothing(worker, attempt, TELLING)


@pytest.mark.parametrize("attempt", STRANGERS.values(), ids=STRANGERS)
def test_without_the_operators_key_nothing_is_told(
    worker: Worker, door: str, attempt: Attempt
) -> None:
    """Without any keys, everybody on this machine is the operator."""
    if door != "without keys":
        tells_nothing(worker, attempt, TELLING)


def test_the_operator_is_told_and_the_page_itself_holds_nothing(
    worker: Worker, door: str
) -> None:
    operator = with_headers(Authorization=f"Bearer {OPERATORS}")
    exists = door != "with a key for callers alone"
    for path in ("/metrics", "/admin/state", "/admin/activity"):
        assert (HIDDEN.encode() in answer(worker.url, operator, path)) is exists
    for path in PAGE:
        assert HIDDEN.encode() not in answer(worker.url, operator, path)
