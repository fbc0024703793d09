"""A caller of the worker: plain HTTP, one connection per request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiohttp

VARYING = {"date", "x-request-id"}  # headers that differ in each answer
CHAT = "/v1/chat/completions"
DONE = "[DONE]"
PATIENCE = 90.0  # seconds

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        content: Json = json.loads(self.body)
        return content

    @property
    def text(self) -> str:
        """The text of a chat model's answer."""
        assert self.status == 200, self.body
        said: str = self.json["choices"][0]["message"]["content"]
        return said

    @property
    def refusal(self) -> tuple[int, str]:
        """The status and the error code."""
        return self.status, self.json["error"]["code"]


class Stream:
    """An answer that arrives event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self._response = response
        self._content = response.content

    async def event(self) -> str:
        """The next event's data; empty at the end of the stream."""
        event = b":"
        while event.startswith(b":"):  # a comment that reports progress to a waiting caller
            event = await self._content.readuntil(b"\n\n")
        return event.decode().removeprefix("data: ").strip()

    def leave(self) -> None:
        """Stop reading and close: the worker sees that its caller has left."""
        self._response.close()

    async def refusal(self) -> tuple[int, str]:
        """The status and the error code of an answer that is not a stream."""
        return self.status, (await self._response.json())["error"]["code"]

    async def rest(self) -> list[str]:
        events = []
        while event := await self.event():
            events.append(event)
        return events

    async def text(self) -> str:
        """Read a chat model's text to the end, and check that the stream ends properly."""
        *chunks, done = await self.rest()
        assert done == DONE, done
        choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


class Caller:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, headers=headers)

    async def post(
        self, path: str, content: object, headers: Mapping[str, str] | None = None
    ) -> Answer:
        json_headers = {"Content-Type": "application/json", **(headers or {})}
        return await self.send("POST", path, json.dumps(content).encode(), json_headers)

    async def send(
        self,
        method: str,
        path: str,
        data: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with self._session.request(
            method, self._url + path, data=data, headers=headers
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def chat(
        self, model: str | None, *, token: str | None = None, key: str = "", **fields: object
    ) -> Answer:
        return await self.post(CHAT, chat(model, **fields), credentials(token, key))

    async def chat_until(self, refusal: tuple[int, str], model: str) -> list[Answer]:
        """Ask again at once after each answer, until one is this refusal. Returns those before,
        and it."""
        answers = [await self.chat(model)]
        while answers[-1].refusal != refusal:
            assert len(answers) < 10, answers
            answers.append(await self.chat(model))
        return answers

    @asynccontextmanager
    async def stream(self, model: str, *, token: str | None = None) -> AsyncIterator[Stream]:
        """Ask for a stream. Leaving the block early closes the connection."""
        body = chat(model, stream=True)
        async with self._session.post(
            self._url + CHAT, json=body, headers=credentials(token)
        ) as response:
            yield Stream(response)


@asynccontextmanager
async def calling(url: str, patience: float = PATIENCE) -> AsyncIterator[Caller]:
    """`patience`: seconds for each whole answer."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(patience)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Caller(session, url)


def chat(model: str | None, **fields: object) -> Json:
    named = {} if model is None else {"model": model}
    return {**named, "messages": [{"role": "user", "content": "Who are you?"}], **fields}


def credentials(token: str | None, key: str = "") -> dict[str, str]:
    """The headers for a Hub token and an API key."""
    headers = {} if token is None else {"X-HF-Token": token}
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})
