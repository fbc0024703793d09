"""Everything that one caller can do to the others, each attack at full speed.

    python -m tests.bench.attack.attacks TARGET SECONDS [ATTACK...]

Runs as its own process with low priority, because real attackers do not use the worker's CPU.
Prints the answers to each attack as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from tests.bench.attack.target import ENDLESS, LARGE, OTHERS, SHARED, Target
from tests.bench.ways import CHAT

Told = Counter[str]
Attack = Callable[["Attacker"], Awaitable[str]]

_JSON = {"Content-Type": "application/json"}
_HI = [{"role": "user", "content": "Hi"}]


class Attacker:
    """One caller, with or without its own API key."""

    def __init__(self, target: Target, session: aiohttp.ClientSession, key: str) -> None:
        self.target, self._session = target, session
        self._headers = {**_JSON, **({"Authorization": f"Bearer {key}"} if key else {})}

    async def post(
        self, body: bytes, *, token: str = "", wait: float = 30.0, path: str = CHAT
    ) -> str:
        """Send a request. Returns the status, or how it ended. Hangs up after `wait`
        seconds."""
        headers = self._headers | ({"X-HF-Token": token} if token else {})
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                async with self._session.post(path, data=body, headers=headers) as answer:
                    await answer.read()
                return str(answer.status)
        return "hung up"

    async def chat(
        self, model: str, *, wait: float = 30.0, token: str = "", **more: object
    ) -> str:
        body = json.dumps({"model": model, "messages": _HI, **more}).encode()
        return await self.post(body, token=token, wait=wait)

    async def get(self, path: str, **headers: str) -> str:
        async with self._session.get(path, headers=self._headers | headers) as answer:
            await answer.read()
        return str(answer.status)

    def connection(self, buffer: int) -> socket.socket:
        """A connection with a small buffer, which soon fills."""
        address = urlsplit(self.target.url)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.setblocking(False)
        with suppress(BlockingIOError):
            raw.connect((address.hostname or "", address.port or 80))
        return raw

    def head(self, length: int) -> bytes:
        lines = [f"POST {CHAT} HTTP/1.1", f"Host: {urlsplit(self.target.url).netloc}"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


_COMPLETIONS, _GENERATE = "/v1/completions", "/generate"
_SHAPES = (
    (_GENERATE, b'{"image_data":"A' + rb"\n" * 60_000 + b'!"}'),
    (_GENERATE, b'{"image_data":[' + b"{}," * 700_000 + b"{}]}"),
    (_GENERATE, b'{"image_data":[' + b'"QQ==",' * 1_400_000 + b'"QQ=="]}'),
    (CHAT, b'{"messages":[' + b"[]," * 700_000 + b"[]]}"),
    (CHAT, b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    (CHAT, b'{"a":' + b"9" * 1_000_000 + b"}"),
    (CHAT, b"{" + b",".join(b'"k%d":0' % number for number in range(300_000)) + b"}"),
    (_COMPLETIONS, b'{"prompt":[' + b"1," * 1_400_000 + b"1]}"),
    (_COMPLETIONS, b'{"prompt":"' + rb"\u0041" * 5_000_000 + b'"}'),
    (_COMPLETIONS, b'{"prompt":"' + b"A" * 33_000_000 + b'"}'),
)


async def odd_bodies(attacker: Attacker) -> str:
    path, body = secrets.choice(_SHAPES)
    return await attacker.post(body, path=path)


_POISON: tuple[Mapping[str, object], ...] = (
    {"prompt": [5, 1_000_000]},
    {"prompt": "x", "logprobs": 1_000_000},
    {"prompt": "x", "min_tokens": 2, "stop_token_ids": [1_000_000]},
    {"prompt": "x", "top_k": 2**62},
    {"prompt": "x", "stop_regex": "(.|.)*#$"},
)


async def poison(attacker: Attacker) -> str:
    body = json.dumps({"model": SHARED, **secrets.choice(_POISON)}).encode()
    return await attacker.post(body, path=_COMPLETIONS)


async def endless_start(attacker: Attacker) -> str:
    return await attacker.chat(ENDLESS, wait=5.0)


async def other_models(attacker: Attacker) -> str:
    return await attacker.chat(secrets.choice(OTHERS))


async def downloads(attacker: Attacker) -> str:
    return await attacker.chat(secrets.choice(LARGE), wait=0.3)


async def invented_tokens(attacker: Attacker) -> str:
    return await attacker.chat(SHARED, token=f"hf_{secrets.token_hex(16)}")


async def own_token(attacker: Attacker) -> str:
    return await attacker.chat(SHARED, token=attacker.target.token)


async def made_up_names(attacker: Attacker) -> str:
    return await attacker.get(f"/v1/models/nobody/{secrets.token_hex(8)}")


async def long_answers(attacker: Attacker) -> str:
    return await attacker.chat(SHARED, wait=10.0, max_tokens=100_000)


async def cross_site(attacker: Attacker) -> str:
    return await attacker.get("/v1/models", Origin="https://evil.example")


async def slow_reader(attacker: Attacker) -> str:
    loop = asyncio.get_running_loop()
    body = json.dumps({"model": SHARED, "messages": _HI, "stream": True}).encode()
    with attacker.connection(2048) as raw:
        await asyncio.sleep(0.1)
        with suppress(OSError):
            await loop.sock_sendall(raw, attacker.head(len(body)) + body)
            await asyncio.sleep(60)
    return "held"


async def slow_upload(attacker: Attacker) -> str:
    loop = asyncio.get_running_loop()
    with attacker.connection(65536) as raw, suppress(OSError):
        await asyncio.sleep(0.1)
        await loop.sock_sendall(raw, attacker.head(1_000_000))
        for _ in range(90):
            await loop.sock_sendall(raw, b" ")
            await asyncio.sleep(1)
    return "held"


# How many of each run at a time.
ATTACKS: Mapping[Attack, int] = {
    odd_bodies: 2,
    poison: 2,
    endless_start: 2,
    other_models: 2,
    downloads: 8,
    invented_tokens: 4,
    own_token: 2,
    made_up_names: 2,
    long_answers: 80,
    cross_site: 1,
    slow_reader: 80,
    slow_upload: 50,
}


async def attack(target: Target, seconds: float, names: Collection[str]) -> dict[str, Told]:
    """Run the attacks with these names, or all."""
    told: dict[str, Told] = {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(target.url, connector=connector) as session:
        until = time.monotonic() + seconds
        callers = {"key": target.key, "nobody": ""}
        async with asyncio.TaskGroup() as tasks:
            for name, key in callers.items():
                attacker = Attacker(target, session, key)
                for one, times in ATTACKS.items():
                    if names and one.__name__ not in names:
                        continue
                    heard = told[f"{one.__name__} ({name})"] = Counter()
                    for _ in range(times):
                        tasks.create_task(_repeat(one, attacker, until, heard))
    return told


async def _repeat(one: Attack, attacker: Attacker, until: float, heard: Told) -> None:
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left):
                heard[await one(attacker)] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            heard[type(error).__name__] += 1
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    os.nice(10)
    results = asyncio.run(
        attack(Target.load(Path(sys.argv[1])), float(sys.argv[2]), sys.argv[3:])
    )
    print(json.dumps(results))
