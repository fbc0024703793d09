"""The way to an engine: one request out, its answer back byte for byte as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from router.requests.interfaces import UpstreamLost, UpstreamRequest, UpstreamResponse

_SENT = frozenset({"content-type", "accept"})
_SHOWN = frozenset({"content-type", "content-length", "content-encoding", "retry-after"})

# SGLang's uvicorn closes an idle connection after 5 s. Reusing one at that very moment
# would look like a dead engine, so ours are gone before.
_KEEP_ALIVE = 4.0
_CONNECT_TIMEOUT = 10.0  # loopback: an engine that does not accept by then is stuck

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)


class HttpRelay:
    """Implements the port `Relay`. Make it inside the running loop; `close` it there."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            # How long an answer may take is the service's to say.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy of the environment is no way to loopback
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        """Send, and give the answer's head. Raises `UpstreamLost`.

        Leaving the block gives the connection back where the answer is complete, and
        closes it where it is not: SGLang aborts a generation whose caller is gone.
        """
        headers = {k: v for k, v in request.headers.items() if k.lower() in _SENT}
        try:
            response = await self._session.request(
                request.method,
                request.url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
            )
        except _FAILURES as error:
            raise _lost(error) from error
        try:
            yield _Response(response)
        finally:
            if response.content.is_eof():
                response.release()
            else:
                response.close()


class _Response:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By their lower-case names."""
        found = ((k.lower(), v) for k, v in self._response.headers.items())
        return {k: v for k, v in found if k in _SHOWN}

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except _FAILURES as error:
            raise _lost(error) from error


def _lost(error: Exception) -> UpstreamLost:
    return UpstreamLost(f"the connection to the engine failed: {type(error).__name__}")
