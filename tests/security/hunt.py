"""Sends tokens of every kind and shape to one worker, during every kind of trouble."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.caller import CHAT, chat
from tests.e2e.evidence import Evidence, found
from tests.e2e.processes import may_dump
from tests.eventually import eventually
from tests.security.harness import Client, Seen, Site
from tests.security.memory import Found, Memory
from tests.security.troubles import KINDS, Troubles

HOUSE = "acme/house"  # the operator's model; it has its own token
OPERATORS = {"HF_TOKEN", "HOUSE_TOKEN"}
# By name of the shape: how it is made from a marker. None is a valid token.
SHAPES: Mapping[str, str] = {
    "followed_by_a_line_end": "{}\n",
    "in_two_lines": "{}\r\n{}",
    "not_ascii": "{}é",
    "not_printable": "\x00{}\x7f",
    "a_lone_surrogate": "{}\ud83d",
    "long": "{}" * 320,
    "with_a_scheme": "Bearer {}",
    "with_two_schemes": "Bearer Bearer {}",
    "quoted": '"{}"',
    "a_query": "?token={}&x=1",
}


@dataclass
class Case:
    """The hidden secrets, and everything that was visible."""

    control: Mapping[str, str]
    secrets: dict[str, str] = field(default_factory=dict)  # by kind, without their prefix
    evidence: Evidence = field(default_factory=Evidence)
    codes: dict[str, str] = field(default_factory=dict)  # for the shapes that are not tokens
    left_in_memory: Found = field(default_factory=dict)
    dumping: dict[str, bool] = field(default_factory=dict)  # by process
    upstream: bytes = b""  # everything that engines received

    def found(self, *places: bytes | str) -> set[str]:
        """Secrets found in places where the control was found."""
        assert found(self.control, *places), "the search does not find what is there"
        return found(self.secrets, *places)


class Hunt:
    def __init__(self, case: Case, place: Site, memory: Memory) -> None:
        self._case, self._place, self._memory = case, place, memory
        self._public, self._private = f"acme/{place.kind}-public", f"acme/{place.kind}-private"

    async def run(self) -> None:
        case, place = self._case, self._place
        async with place.client() as client, case.evidence.of_processes(place.worker):
            troubles = Troubles(place, client)
            await self._plainly(client)
            await self._malformed(client)
            await troubles.of_the_token()
            # The Hub sees no difference between HTTP and the queue, so a few kinds are enough.
            await troubles.of_the_hub(KINDS if place.kind == "http" else ("cut", "hang"))
            await troubles.of_the_download()
            await troubles.of_the_engine()
            await troubles.of_those_who_leave()
            self.note(troubles.tokens)
            await self._until_idle()
            async with troubles.everywhere():
                self.note(troubles.tokens)
                case.evidence.see_processes(place.worker)  # one of them is a download
                self._see_limits()
                place.worker.send(signal.SIGTERM)
                await eventually(lambda: "leaving" in place.worker.log)
                place.harness.hub.faults.clear()
                await asyncio.to_thread(place.worker.wait, 90)
        for seen in troubles.seen.values():
            self._see(seen)
        for job in place.endpoint.platform.jobs if place.endpoint else ():
            told = (job.outputs, job.finals, job.progress)  # including those of canceled jobs
            case.evidence.answers.append(repr(told).encode())

    async def _plainly(self, client: Client) -> None:
        """Serve everybody, and put the control into every place where a token must not
        appear."""
        harness, control = self._place.harness, self._case.control["control"]
        harness.model(self._private, private=True)
        harness.model(f"acme/{control}", answer=control)
        inside, beside = (harness.hub.add_account("acme") for _ in range(2))
        self.note({"inside": inside, "beside": beside})
        body = chat(self._private, hf_token=inside)
        for model in (HOUSE, f"acme/{control}"):
            self._see(await client.chat(model))
        assert (
            self._see(await client.ask(CHAT, chat(f"acme/{control}", hf_token=""))).code == ""
        )
        self._see(await client.ask(CHAT, body))
        self._see(await client.ask(CHAT, body, beside))

    async def _malformed(self, client: Client) -> None:
        self._place.harness.model(self._public)
        await asyncio.gather(*(self._shaped(client, *shape) for shape in SHAPES.items()))
        if self._place.kind == "http":
            assert " 20" in await self._get("/ping", "")  # logged at DEBUG

    async def _shaped(self, client: Client, shape: str, form: str) -> None:
        marker = self._case.secrets[shape] = secrets.token_hex(16)
        value: Any = form.replace("{}", marker)
        for token in (value, [value], {value: value}):
            seen = self._see(await client.ask(CHAT, chat(self._public, hf_token=token)))
            self._case.codes[f"{shape} {type(token).__name__}"] = seen.code
        if self._place.kind == "http":
            assert " 4" in await self._get("/v1/models", value)

    async def _get(self, path: str, token: str) -> str:
        """Send a raw request, unlike any client would. Returns the status line."""
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"X-HF-Token: {token}", "", ""]
        request = "\r\n".join(lines).encode(errors="surrogatepass")
        answer = await self._case.evidence.ask(self._place.worker.url, request)
        return answer.partition(b"\r\n")[0].decode()

    def _see(self, seen: Seen) -> Seen:
        self._case.evidence.answers.append(repr(seen.shown).encode())
        return seen

    def note(self, tokens: Mapping[str, str]) -> None:
        self._case.secrets |= {role: t.removeprefix("hf_") for role, t in tokens.items()}

    async def _until_idle(self) -> None:
        """Wait until the worker is idle. A token still held then would be held forever."""
        worker, marks = self._place.worker, self._case.secrets
        self._case.left_in_memory = await self._memory.search_until(OPERATORS, worker, marks)

    def _see_limits(self) -> None:
        for process in self._place.worker.processes():
            with suppress(OSError):  # it has ended meanwhile
                self._case.dumping[str(process)] = may_dump(process)
