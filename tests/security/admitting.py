"""A worker's admission, with the real client of the Hub and a clock that the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.hub.cache import CachedHub
from router.hub.client import HuggingFaceHub
from tests.loopback_hub import LoopbackHub
from tests.pool.fakes import FakeClock


@asynccontextmanager
async def admitting(
    hub: LoopbackHub, clock: FakeClock, **environ: str
) -> AsyncIterator[Admission]:
    settings = Settings.from_environ(environ)
    models = catalog(settings)
    direct = HuggingFaceHub(hub.endpoint, ca_file=str(hub.ca_file))
    cached = CachedHub(direct, clock)
    admission = Admission(
        cached,
        catalog=models,
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
