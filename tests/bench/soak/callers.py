"""Callers of every kind at a fixed rate: good ones, leaving ones, and ones that send bad
requests."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.bench.products import API_KEY, STREAMING, WHOLE
from tests.bench.ways import CHAT

ADMIN_KEY = "an-operators-key-of-the-benchmark"
LONG_BODY = 200_000  # characters
_STAYS = 0.3  # seconds until an impatient caller leaves
_LOOKS = (
    "/admin/state",
    "/metrics",
    "/admin/journal",
    "/admin/activity",
    "/v1/models",
    "/ping",
)
_MESSAGES = [{"role": "user", "content": "Hi"}]


@dataclass
class Callers:
    """`tokens`: of callers that may use the gated models; `cold`: models without an engine."""

    url: str
    session: aiohttp.ClientSession
    tokens: Sequence[str]
    cold: Sequence[str]
    rate: float  # actions per second
    answers: Counter[int] = field(default_factory=Counter)  # by status; 0: none
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def come(self, seconds: float) -> None:
        """Start actions at the rate, each kind by its share. Wait until all have ended."""
        kinds: Mapping[Callable[[], Awaitable[None]], float] = {
            self._whole: 60,
            self._on_a_new_connection: 10,
            self._newcomer: 12,
            self._short_stream: 8,
            self._leaves_a_stream: 4,
            self._leaves: 3,
            self._leaves_in_its_body: 1,
            self._bad_json: 1,
            self._bad_key: 1,
            self._bad_token: 0.5,
            self._unknown_model: 0.3,
            self._no_http: 0.5,
            self._long: 0.3,
            self._look: 1,
            self._watch: 0.3,
            self._cold: 0.12,
        }
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while (left := until - loop.time()) > 0:
                (kind,) = random.choices(list(kinds), list(kinds.values()))
                group.create_task(self._attempt(kind))
                await asyncio.sleep(min(left, random.expovariate(self.rate)))

    async def _attempt(self, kind: Callable[[], Awaitable[None]]) -> None:
        try:
            await kind()
        except (OSError, TimeoutError, aiohttp.ClientError):
            self.answers[0] += 1

    async def _whole(self) -> None:
        """A request of one of a few hundred recurring callers."""
        await self._ask(WHOLE, self.tokens[random.randrange(300)])

    async def _newcomer(self) -> None:
        await self._ask(WHOLE, self.tokens[next(self._numbers) % len(self.tokens)])

    async def _on_a_new_connection(self) -> None:
        await self._ask(WHOLE, self.tokens[0], {"Connection": "close"})

    async def _short_stream(self) -> None:
        most = random.randrange(1, 40)
        await self._ask(STREAMING, self.tokens[1], stream=True, max_tokens=most)

    async def _long(self) -> None:
        messages = [{"role": "user", "content": "word " * (LONG_BODY // 5)}]
        await self._ask(WHOLE, self.tokens[2], messages=messages)

    async def _cold(self) -> None:
        await self._ask(random.choice(self.cold), self.tokens[3])

    async def _unknown_model(self) -> None:
        await self._ask(f"nobody/m{next(self._numbers)}", self.tokens[4])

    async def _bad_key(self) -> None:
        await self._ask(WHOLE, self.tokens[5], {"Authorization": "Bearer of-nobody"})

    async def _bad_token(self) -> None:
        await self._ask(WHOLE, f"hf_{random.getrandbits(160):040x}")

    async def _bad_json(self) -> None:
        async with self.session.post(
            self.url + CHAT, data=b'{"model": ', headers=_headers(self.tokens[6])
        ) as answer:
            await self._take(answer)

    async def _leaves_a_stream(self) -> None:
        body = _body(STREAMING, stream=True)
        headers = _headers(self.tokens[random.randrange(7, 40)])
        async with self.session.post(self.url + CHAT, json=body, headers=headers) as answer:
            for _ in range(random.randrange(30)):
                await answer.content.readline()
            self.answers[answer.status] += 1
            answer.close()

    async def _leaves(self) -> None:
        """Leave during an answer. For a cold model, the caller leaves during its start."""
        model = random.choice(self.cold) if random.random() < 0.03 else WHOLE
        try:
            async with asyncio.timeout(random.choice((0.0005, 0.002, _STAYS))):
                await self._ask(model, self.tokens[40])
        except TimeoutError:
            pass

    async def _leaves_in_its_body(self) -> None:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n"
        further = "".join(f"{k}: {v}\r\n" for k, v in _headers(self.tokens[41]).items())
        await self._send(f'{head}{further}\r\n{{"model": "'.encode())

    async def _no_http(self) -> None:
        await self._send(random.randbytes(200))

    async def _look(self) -> None:
        path, headers = random.choice(_LOOKS), _headers(self.tokens[42])
        if path.startswith(("/admin", "/metrics")):
            headers["Authorization"] = f"Bearer {ADMIN_KEY}"
        async with self.session.get(self.url + path, headers=headers) as answer:
            await self._take(answer)

    async def _watch(self) -> None:
        """Watch the operator's page, and leave after a while."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with self.session.get(f"{self.url}/admin/events", headers=headers) as answer:
            self.answers[answer.status] += 1
            await asyncio.sleep(5)
            answer.close()

    async def _send(self, data: bytes) -> None:
        host, _, port = self.url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(_STAYS)
        writer.transport.abort()

    async def _ask(
        self, model: str, token: str, headers: Mapping[str, str] = {}, **fields: Any
    ) -> None:
        body, sent = _body(model, **fields), {**_headers(token), **headers}
        async with self.session.post(self.url + CHAT, json=body, headers=sent) as answer:
            await self._take(answer)

    async def _take(self, answer: aiohttp.ClientResponse) -> None:
        await answer.read()
        self.answers[answer.status] += 1


def _headers(token: str) -> dict[str, str]:
    return {
        "X-HF-Token": token,
        "Authorization": f"Bearer {API_KEY}",
        "Content-Type": "application/json",
    }


def _body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": _MESSAGES, **fields}
