"""`python -m tests.bench.entitlements`: the cost of an admission, by the number of callers.

Callers with their own tokens request one gated model, through the router's caches, from a Hub
that answers at once. Measures CPU time in microseconds for a caller's first request, and for a
request of a caller admitted within the last minute.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Sequence

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.hub.cache import CachedHub
from router.secrets import Token
from tests.doubles import FakeHub

_CALLERS = (100, 1_000, 10_000, 100_000)
_MEASURED = 500  # requests
_MODEL = "org/model"


async def _measure() -> None:
    print(f"{'callers':>10}{'first':>10}{'warm':>10}")
    admission = _admission()
    known: list[Token] = []
    for count in _CALLERS:
        await _admit(admission, new := _tokens(count - len(known) - _MEASURED))
        known += new
        new = _tokens(_MEASURED)
        first = await _admit(admission, new)
        known += new
        # From the latest callers: the caches keep 16,384, and must still hold their admissions.
        latest = random.sample(known[-10_000:], min(len(known), _MEASURED))
        warm = await _admit(admission, latest)
        print(f"{len(known):10,}{first:10.1f}{warm:10.1f}", flush=True)
    await admission.close()


async def _admit(admission: Admission, tokens: Sequence[Token]) -> float:
    """CPU time per admission, in microseconds."""
    began = time.thread_time()
    for token in tokens:
        await admission.admit(_MODEL, token)
    return (time.thread_time() - began) / max(1, len(tokens)) * 1e6


def _admission() -> Admission:
    hub, settings = FakeHub(), Settings.from_environ({})
    hub.add(_MODEL)
    models = catalog(settings)
    return Admission(
        CachedHub(hub, time.monotonic, requests=10**9),
        catalog=models,
        credentials=Credentials.read(settings, models, {}),
        allowed=settings.allowed_models,
        running=lambda _: set(),
        clock=time.monotonic,
    )


def _tokens(count: int) -> list[Token]:
    return [Token(f"hf_{secrets.token_hex(16)}") for _ in range(count)]


if __name__ == "__main__":
    sys.exit(asyncio.run(_measure()))
