"""The deadlines of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from router.clock import Clock
from router.config.settings import Settings
from router.errors import DeadlineExceeded


class Deadlines(NamedTuple):
    """The deadlines of the first byte and the last byte, in seconds of the router's clock."""

    first_byte: float
    end: float

    @classmethod
    def of(cls, settings: Settings, now: float) -> Deadlines:
        end = now + settings.request_timeout
        return cls(min(now + settings.queue_timeout, end), end)


@asynccontextmanager
async def bound(deadline: float, clock: Clock) -> AsyncIterator[None]:
    """Limit the time of one step. Raises `DeadlineExceeded`."""
    try:
        async with asyncio.timeout(max(0.0, deadline - clock())):
            yield
    except TimeoutError:
        raise out_of_time() from None


def out_of_time() -> DeadlineExceeded:
    return DeadlineExceeded(
        "The answer did not come in time. Ask for less, stream, or have the operator raise "
        "QUEUE_TIMEOUT (to the first byte) or REQUEST_TIMEOUT (to the last)."
    )
