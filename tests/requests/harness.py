"""A service on fakes: a Hub, a pool on fake engines, and a scripted connection to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.pool.pool import EnginePool
from router.requests.request import Report, Request
from router.requests.service import Service
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.secrets import Token
from tests.doubles import Answer, FakeAside, FakeHub, FakeUpstream, UncachedHub, whole
from tests.pool.fakes import GIB, FakeClock, FakeDownloader, FakeGauge, FakeLauncher

CHAT = "/v1/chat/completions"
WITHIN = 90.0  # seconds; a test that hangs fails
SSE = {"content-type": "text/event-stream"}


_LIMITS = Limits(budget=100 * GIB, max_loaded=1, patience=0.0)


@dataclass(frozen=True)
class Got:
    """One whole response."""

    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class ServiceHarness:
    """A service on fakes."""

    def __init__(
        self,
        upstream: FakeUpstream,
        environ: Mapping[str, str],
        limits: Mapping[str, Any],
        silence: float,
        progress_every: float,
    ) -> None:
        self.hub, self.upstream, self.clock = FakeHub(), upstream, FakeClock()
        self.aside = FakeAside()
        self.gauge, self.downloader = FakeGauge(), FakeDownloader()
        self.launcher = FakeLauncher(self.gauge)
        self.downloader.instant = self.launcher.instant = True
        settings = Settings.from_environ(environ)
        models = catalog(settings)
        self.pool = EnginePool(
            Scheduler(replace(_LIMITS, **limits)),
            downloader=self.downloader,
            launcher=self.launcher,
            gauges=(self.gauge,),
            clock=self.clock,
            exits_within=0.0,
        )
        admission = Admission(
            UncachedHub(self.hub),
            catalog=models,
            credentials=Credentials.read(settings, models, environ),
            allowed=settings.allowed_models,
            running=self.pool.view.running,
            clock=self.clock,
        )
        self.service = Service(
            settings,
            catalog=models,
            admission=admission,
            pool=self.pool,
            upstream=upstream,
            aside=self.aside,
            silence=silence,
            progress_every=progress_every,
            flags=(),
            salt=b"salt",
            clock=self.clock,
        )

    async def ask(self, request: Request, report: Report | None = None) -> Got:
        async with self.service.open(request, report) as response:
            pieces = [data async for data in response]
            return Got(response.status, response.headers, pieces)

    @property
    def in_flight(self) -> int:
        return sum(len(slot.leases) for slot in self.pool._scheduler.slots.values())

    def sent(self, number: int = -1) -> dict[str, object]:
        body = orjson.loads(whole(self.upstream.sent[number].body))
        assert isinstance(body, dict)
        return body


@asynccontextmanager
async def serving_fakes(
    *answers: Answer,
    limits: Mapping[str, Any] | None = None,
    silence: float = 10.0,
    progress_every: float = 5.0,
    **environ: str,
) -> AsyncIterator[ServiceHarness]:
    made = ServiceHarness(
        FakeUpstream(*answers), environ, limits or {}, silence, progress_every
    )
    made.hub.add("org/model")
    try:
        async with asyncio.timeout(WITHIN):
            yield made
    finally:
        assert made.in_flight == 0, "a lease outlived its request"
        assert made.upstream.open_now == 0, "an exchange outlived its request"
        made.pool._scheduler.validate()
        await made.pool.shut_down(0.0)
        assert not made.launcher.alive


class LoopClock:
    """The clock of the running loop. A test sets it `ahead`, in seconds, instead of waiting."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        real, self.ahead = loop.time, 0.0
        loop.time = lambda: real() + self.ahead  # type: ignore[method-assign]


def chat(model: str | None = "org/model", route: str = CHAT, **fields: object) -> Request:
    named = {} if model is None else {"model": model}
    return Request(route, orjson.dumps({**named, "messages": [], **fields}))


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))
