"""Requests with their own tokens, each in the middle of another trouble."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp

from tests.e2e.harness import ENDLESS
from tests.e2e.processes import command
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.faults import Kind
from tests.security.harness import Client, Seen, Site

# The requests to the Hub for one model, in order.
ASKED = {
    "resolve": "/api/models/{model}",
    "check": "/api/models/{model}/auth-check",
    "head": "/{model}/resolve/[^/]+/config.json",
    "tree": "/api/models/{model}/tree/.*",
    "file": "/{model}/resolve/[^/]+/model.safetensors",
    "cdn": "/cdn/{weights}/.*",
}
KINDS: tuple[Kind, ...] = ("429", "500", "503", "cut", "reset", "hang")
BODILESS = ("head", "file")  # no body to cut
RETRIED = ("tree", "file", "cdn")  # for half a minute; nobody here waits for the end
ENGINES: Mapping[str, Mapping[str, Any]] = {
    "refuses_to_start": {"die_at_start": 1, "last_words": "RuntimeError: no"},
    "dies_at_once": {"die_before_answer": True},
    "dies_in_between": {"die_after_bytes": 20},
    "echoes": {"error": 500, "echo": True},
}
# With the engine's event at which the caller leaves.
LEFT: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "left_starting": ("start", {"never_ready": True}),
    "left_hanging": ("request", {"hang": True}),
    "left_generating": ("request", ENDLESS),
}


class Troubles:
    def __init__(self, place: Site, client: Client) -> None:
        self.tokens: dict[str, str] = {}  # by the trouble of the token
        self.seen: dict[str, Seen] = {}  # by trouble
        self._place, self._client = place, client
        self._hub: LoopbackHub = place.harness.hub

    async def of_the_hub(self, kinds: Sequence[Kind]) -> None:
        """Each step to a model, with each possible fault, all at once."""
        async with asyncio.TaskGroup() as group:
            for step, path in ASKED.items():
                for kind in kinds:
                    if kind != "cut" or step not in BODILESS:
                        group.create_task(self._at_the_hub(step, path, kind))
        self._hub.faults.clear()

    async def of_the_download(self) -> None:
        """Kill the child process, and fill the disk, each in the middle of a file."""
        model, asked = self._model("killed"), self._fault("killed", ASKED["cdn"], "hang")
        async with self._asking("killed", model):
            await eventually(asked)
            for child in self._downloads():
                with suppress(ProcessLookupError):  # of a caller that has just left
                    os.kill(child, signal.SIGKILL)
            await eventually(lambda: "killed" in self.seen)
        self._hub.faults.clear()
        model = self._model("filled")
        with self._no_file_larger_than(500):
            await self._ask("filled", model)

    async def of_the_token(self) -> None:
        """The Hub does not know the token, or it has expired, lacks this scope, or is another
        user's."""
        model = self._model("granted")
        self.tokens["unknown"] = "hf_" + secrets.token_hex(17)
        for role in ("expired", "unscoped"):
            self.tokens[role] = self._hub.add_account("acme")
        self.tokens["strangers"] = self._hub.add_account("stranger")
        self._hub.expire(self.tokens["expired"])
        self._hub.restrict(self.tokens["unscoped"])
        for role in ("unknown", "expired", "unscoped", "strangers", "granted"):
            await self._ask(role, model)

    async def of_the_engine(self) -> None:
        for name, behaviour in ENGINES.items():
            await self._ask(name, self._model(name, **behaviour))

    async def of_those_who_leave(self) -> None:
        """Callers that leave while it starts, hangs or generates."""
        for name, (event, behaviour) in LEFT.items():
            model = self._model(name, **behaviour)
            async with self._asking(name, model):
                await eventually(self._journal(event, model))
            self._place.harness.journal.kill_engine(model)  # a start continues without waiters

    @asynccontextmanager
    async def everywhere(self) -> AsyncIterator[None]:
        """During the block, one caller is at each step."""
        model, asked = self._model("at_the_hub"), self._fault("at_the_hub", ASKED["check"])
        loading, arrived = self._model("at_the_cdn"), self._fault("at_the_cdn", ASKED["cdn"])
        starting = self._model("starting", never_ready=True)
        running = self._model("running", **ENDLESS)
        async with self._asking("running", running):
            await eventually(self._journal("request", running))
            async with (
                self._asking("at_the_hub", model),
                self._asking("at_the_cdn", loading),
                self._asking("starting", starting),
            ):
                await eventually(asked)
                await eventually(arrived)
                await eventually(self._journal("start", starting))
                yield

    # --- one trouble ---------------------------------------------------------------

    async def _at_the_hub(self, step: str, path: str, kind: Kind) -> None:
        name = f"{step}_{kind}"
        model = self._model(name)
        asked = self._fault(name, path, kind)
        async with self._asking(name, model):
            await eventually(asked)
            if kind == "429" or (kind != "hang" and step not in RETRIED):
                await eventually(lambda: name in self.seen)

    def _model(self, name: str, **behaviour: Any) -> str:
        self.tokens[name] = self._hub.add_account("acme")
        return self._place.harness.model(self._named(name), private=True, **behaviour)

    def _named(self, name: str) -> str:
        return f"acme/{self._place.kind}_{name}"

    def _fault(self, name: str, path: str, kind: Kind = "hang") -> Callable[[], bool]:
        """Add a fault. Returns a function that says whether it has occurred."""
        model = self._named(name)
        known = path.format(model=model, weights=_weights(model))
        return self._hub.faults.add(known, kind, times=None)

    async def _ask(self, name: str, model: str) -> None:
        with suppress(aiohttp.ClientError):  # cut off, like an engine's death over HTTP
            self.seen[name] = await self._client.chat(model, self.tokens[name])

    @asynccontextmanager
    async def _asking(self, name: str, model: str) -> AsyncIterator[None]:
        """A caller that sends a request during the block, and then leaves."""
        task = asyncio.create_task(self._ask(name, model))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await task

    def _journal(self, event: str, model: str) -> Callable[[], bool]:
        return lambda: bool(self._place.harness.journal.events(event, model))

    def _downloads(self) -> list[int]:
        pids = self._place.worker.processes()
        return [pid for pid in pids if "router.downloads.child" in command(pid)]

    @contextmanager
    def _no_file_larger_than(self, size: int) -> Iterator[None]:
        """For processes that the worker starts now. Its own files are larger by then."""
        pid = self._place.worker.pid
        usual = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)


def _weights(model: str) -> str:
    """The digest of a model's weights, as the harness makes them."""
    return hashlib.sha256(model.encode().ljust(1000)).hexdigest()
