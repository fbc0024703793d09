"""The way to an engine: one request out, its answer back byte for byte as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp

from router.requests.interfaces import UpstreamLost, UpstreamRequest, UpstreamResponse
from router.secrets import Secret
from router.side_process import Body, size

_SENT = {"Content-Type": "application/json", "Accept": "*/*"}
_SHOWN = frozenset({"content-type", "content-length", "content-encoding", "retry-after"})

# SGLang's uvicorn closes an idle connection after 5 s. Reusing one at that very moment
# would look like a dead engine, so ours are gone before.
_KEEP_ALIVE = 4.0
_CONNECT_TIMEOUT = 10.0  # loopback: an engine that does not accept by then is stuck

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)
_NOT_REACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class HttpUpstream:
    """Implements `Upstream`. Make it inside the running loop; `close` it there."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            # The response bounds the time.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy of the environment is no way to loopback
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, url: str, key: Secret, most: int) -> str | None:
        """What an engine says at `url`, in at most `most` bytes; None if it does not."""
        headers = {"Authorization": f"Bearer {key.reveal()}"}
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                content = bytearray()
                while len(content) <= most and (data := await answer.content.readany()):
                    content += data
        except _FAILURES:
            return None
        whole = answer.status == HTTPStatus.OK and len(content) <= most
        return content.decode(errors="replace") if whole else None

    @asynccontextmanager
    async def open(self, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        """Send, and give the answer's head. Raises `UpstreamLost`.

        Leaving the block gives the connection back where the answer is complete, and
        closes it where it is not: SGLang aborts a generation when its caller is gone.
        """
        try:
            response = await self._session.request(
                "POST",
                request.url,
                headers=_headers(request),
                data=_data(request.body),
                allow_redirects=False,
            )
        except _FAILURES as error:
            raise _lost(error) from error
        try:
            yield _EngineResponse(response)
        finally:
            if response.content.is_eof():
                response.release()
            else:
                response.close()


class _EngineResponse:
    __slots__ = ("_content", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self.status = response.status
        found = ((name.lower(), value) for name, value in response.headers.items())
        self.headers = {name: value for name, value in found if name in _SHOWN}

    async def read(self) -> bytes:
        try:
            return await self._content.readany()
        except _FAILURES as error:
            raise _lost(error) from error


def _headers(request: UpstreamRequest) -> Mapping[str, str]:
    headers = {**_SENT, "Authorization": f"Bearer {request.key.reveal()}"}
    if not isinstance(request.body, bytes):
        headers["Content-Length"] = str(size(request.body))
    return headers


def _data(body: Body) -> bytes | AsyncIterator[bytes]:
    """In pieces: a long body would be copied as a whole, while nobody else is served."""
    return body if isinstance(body, bytes) else _in_pieces(body)


async def _in_pieces(body: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece


def _lost(error: Exception) -> UpstreamLost:
    return UpstreamLost(
        f"the connection to the engine failed: {type(error).__name__}",
        reached=not isinstance(
            error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
        ),
    )
