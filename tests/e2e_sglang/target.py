"""The target of an attack: the worker, or the engine's own port. An attack that the worker
stops must work against the engine; otherwise the test proves nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from tests.e2e_sglang.harness import PATIENCE, Json

_PATIENCE = aiohttp.ClientTimeout(PATIENCE)


@dataclass(frozen=True)
class Reply:
    status: int
    text: str

    @property
    def content(self) -> Json:
        content: Json = json.loads(self.text)
        return content

    @property
    def answer(self) -> Json:
        assert self.status == 200, self
        return self.content

    @property
    def refusal(self) -> str:
        """The worker's message for a refused request."""
        error = self.content["error"]
        expected = {"type": "invalid_request_error"}
        if self.content.get("type") != "error":  # Anthropic's form has no code
            expected |= {"code": "invalid_request"}
        assert self.status == 400, self
        assert expected.items() <= error.items(), self
        message: str = error["message"]
        return message


@dataclass(frozen=True)
class Target:
    url: str
    model: str
    signed: Mapping[str, str] = field(default_factory=dict, repr=False)  # headers

    async def post(
        self, path: str, content: Json, headers: dict[str, str] | None = None
    ) -> Reply:
        body = json.dumps({"model": self.model, **content})
        return await self.send("POST", path, body.encode(), headers)

    async def send(
        self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> Reply:
        """Send these exact bytes."""
        sent = {"Content-Type": "application/json", **(headers or {}), **self.signed}
        async with (
            aiohttp.ClientSession(timeout=_PATIENCE) as session,
            session.request(method, self.url + path, data=body, headers=sent) as answer,
        ):
            return Reply(answer.status, await answer.text())
