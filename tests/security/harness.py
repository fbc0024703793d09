"""An attacker's view of a worker: over HTTP or through RunPod's queue, with the same calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from tests.e2e.caller import CHAT, VARYING, Answer, Caller, Json, calling, chat, credentials
from tests.e2e_runpod.harness import Endpoint, QueueHarness
from tests.loopback_platform import Job, Outcome
from tests.security.traces import Traces, traces
from tests.worker import Worker

SERVED = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller saw. `code`: the refusal's, or SERVED. `shown`: the whole answer."""

    code: str
    content: Json
    shown: tuple[object, ...]

    @property
    def text(self) -> str:
        """The text of a chat model's answer."""
        assert self.code == SERVED, self.content
        said: str = self.content["choices"][0]["message"]["content"]
        return said

    def without(self, name: str) -> str:
        """What was shown, without this name: to compare it with an answer about another
        name."""
        return repr(self.shown).replace(name, "MODEL")


class Client(Protocol):
    async def ask(self, route: str, body: Json, token: str | None = None) -> Seen: ...

    async def look(self, name: str, token: str | None = None) -> Seen:
        """Get `/v1/models`, or with a name, that model's entry."""
        ...

    async def chat(self, model: str | None, token: str | None = None) -> Seen:
        return await self.ask(CHAT, chat(model), token)


class HttpClient(Client):
    def __init__(self, caller: Caller, key: str) -> None:
        self._caller, self._key = caller, key

    async def ask(self, route: str, body: Json, token: str | None = None) -> Seen:
        return _answered(await self._caller.post(route, body, credentials(token, self._key)))

    async def look(self, name: str, token: str | None = None) -> Seen:
        path = f"/v1/models/{quote(name, safe='')}" if name else "/v1/models"
        return _answered(await self._caller.get(path, **credentials(token, self._key)))


class QueueClient(Client):
    """A caller of the queue. It cancels a job when it stops waiting for it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def ask(self, route: str, body: Json, token: str | None = None) -> Seen:
        asked = body if token is None else body | {"hf_token": token}
        return await self._run(openai_route=route, openai_input=asked)

    async def look(self, name: str, token: str | None = None) -> Seen:
        route = f"/v1/models/{name}" if name else "/v1/models"
        return await self._run(openai_route=route, openai_input={"hf_token": token})

    async def _run(self, **job_input: object) -> Seen:
        job = self._endpoint.submit(**job_input)
        try:
            return _ended(job, await asyncio.to_thread(job.wait))
        except asyncio.CancelledError:
            self._endpoint.cancel(job)
            raise


@dataclass(frozen=True)
class Site:
    """A worker with one way in: HTTP or the queue."""

    kind: str
    harness: QueueHarness
    worker: Worker
    journal: Path  # the pool's
    endpoint: Endpoint | None
    key: str = ""  # an API key, if one is needed

    def traces(self) -> Traces:
        return traces(self.harness, self.journal)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        if self.endpoint is not None:
            yield QueueClient(self.endpoint)
            return
        async with calling(self.worker.url) as caller:
            yield HttpClient(caller, self.key)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Check that during the block nothing is served, started, evicted, downloaded or
        queued."""
        before = self.traces()
        yield
        assert self.traces() == before


@contextmanager
def site(harness: QueueHarness, kind: str, key: str = "", **environ: str) -> Iterator[Site]:
    journal = _journal(harness, kind)
    # A prestarted process would leave its traces at any time.
    environ = {"STANDBY_ENGINES": "0", "POOL_JOURNAL": str(journal)} | environ
    if kind == "http":
        with harness.worker(**environ) as worker:
            yield Site(kind, harness, worker, journal, None, key)
    else:
        with harness.endpoint(**environ) as endpoint:
            yield Site(kind, harness, endpoint.worker, journal, endpoint)


@contextmanager
def doomed_site(harness: QueueHarness, kind: str, **environ: str) -> Iterator[Site]:
    """A site whose worker the test ends itself."""
    journal = _journal(harness, kind)
    # A prestarted process would leave its traces at any time.
    environ = {"STANDBY_ENGINES": "0", "POOL_JOURNAL": str(journal)} | environ
    if kind == "http":
        with harness.new_worker(**environ) as worker:
            yield Site(kind, harness, worker, journal, None)
    else:
        with harness.started(**environ) as endpoint:
            yield Site(kind, harness, endpoint.worker, journal, endpoint)


def _journal(harness: QueueHarness, kind: str) -> Path:
    return harness.journal.path.with_name(f"pool-{kind}.jsonl")


def _answered(answer: Answer) -> Seen:
    content = answer.json
    code = SERVED if answer.status == 200 else _code(content)
    headers = {
        name: value for name, value in answer.headers.items() if name.lower() not in VARYING
    }
    return Seen(code, content, (answer.status, headers, answer.body.decode()))


def _ended(job: Job, outcome: Outcome) -> Seen:
    progress = [told.output for told in job.progress]
    shown = (outcome.status, outcome.posted, job.outputs, progress)
    if outcome.status == "COMPLETED":
        (output,) = outcome.output
        return Seen(SERVED, output, shown)
    content = json.loads(outcome.error)
    return Seen(_code(content), content, shown)


def _code(content: Json) -> str:
    """The error's code; in Anthropic's form, its type."""
    error = content["error"]
    code: str = error["type"] if content.get("type") == "error" else error["code"]
    return code
