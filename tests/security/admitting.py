"""The admission of a worker, with the real client of the Hub and a clock of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.admission import Admission
from router.credentials import Credentials
from router.entitlements import CachedHub
from router.hub import HuggingFaceHub
from router.models_file import catalogue
from router.settings import Settings
from tests.core.fakes import FakeClock
from tests.loopback_hub import LoopbackHub


@asynccontextmanager
async def admitting(
    hub: LoopbackHub, clock: FakeClock, **environ: str
) -> AsyncIterator[Admission]:
    settings = Settings.from_environ(environ)
    models = catalogue(settings)
    direct = HuggingFaceHub(hub.endpoint, ca_file=str(hub.ca_file))
    cached = CachedHub(direct, clock)
    admission = Admission(
        cached,
        catalogue=models,
        credentials=Credentials.read(settings, models, environ),
        allowed=settings.allowed_models,
        running=lambda _: set(),
        clock=clock,
    )
    try:
        yield admission
    finally:
        await admission.close()
        await cached.close()
        await direct.close()
