"""One request to one engine: sent, answered, and bounded in time at every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from router.clock import Clock
from router.errors import DeadlineExceeded
from router.pool.lease import Lease
from router.requests.error_body import engine_error
from router.requests.interfaces import Relay, UpstreamRequest, UpstreamResponse
from router.requests.response import Body, Head
from router.requests.routes import Call

_JSON = {"Content-Type": "application/json"}
_LONGEST_ERROR = 1 << 20  # bytes of an engine's error that are read


class Until:
    """Bounds one step: `async with Until(deadline, clock)`. Raises `DeadlineExceeded`.

    Never put a `yield` inside: the time-out would strike whoever iterates. Written out,
    because it is entered several times a request and a generator would cost twice that.
    """

    __slots__ = ("_timeout",)

    def __init__(self, deadline: float, clock: Clock) -> None:
        self._timeout = asyncio.timeout(max(0.0, deadline - clock()))

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded(
                "The answer did not come in time. Ask for less, stream, or have the operator "
                "raise QUEUE_TIMEOUT (to the first byte) or REQUEST_TIMEOUT (to the last)."
            ) from None


class Exchanges:
    """Makes exchanges over `relay`; `local_paths` are hidden from engines' errors."""

    def __init__(self, relay: Relay, clock: Clock, local_paths: Sequence[str]) -> None:
        self._relay, self._clock, self._local_paths = relay, clock, local_paths

    async def run(
        self, call: Call, salt: str | None, lease: Lease, *, first_by: float, ends: float
    ) -> AsyncGenerator[Head | Body, None]:
        """Pass on what the engine answers, byte for byte, but for its errors.

        The first byte is due by `first_by`, the last by `ends`. Raises `UpstreamLost`
        and `DeadlineExceeded`. Close it to have the engine stop.
        """
        body = call.upstream_body(lease.engine.served_name, salt)
        request = UpstreamRequest("POST", lease.engine.url + call.route.path, _JSON, body)
        async with AsyncExitStack() as stack:
            async with Until(first_by, self._clock):
                upstream = await stack.enter_async_context(self._relay.open(request))
            if upstream.status >= 400:
                async with Until(ends, self._clock):
                    content = await _read(upstream)
                lease.answered = upstream.status < 500
                status, content = engine_error(upstream.status, content, self._local_paths)
                yield Head(status, _JSON)
                yield Body(content)
                return
            chunks = upstream.chunks()
            # SGLang sends the head before it has generated anything: an engine that dies
            # in between has said nothing yet.
            chunk = await self._next(chunks, first_by)
            yield Head(upstream.status, upstream.headers)
            while chunk is not None:
                yield Body(chunk)
                chunk = await self._next(chunks, ends)
            lease.answered = True

    async def _next(self, chunks: AsyncIterator[bytes], deadline: float) -> bytes | None:
        async with Until(deadline, self._clock):
            return await anext(chunks, None)


async def _read(upstream: UpstreamResponse) -> bytes:
    content = b""
    async for chunk in upstream.chunks():
        content += chunk
        if len(content) > _LONGEST_ERROR:
            break
    return content
