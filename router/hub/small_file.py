"""Reads a small file of a repository from the Hub itself."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from router.hub.origin import HubOrigin

MAX_REDIRECTS = 5
MAX_BYTES = 1 << 16  # the files that determine a model's task have 1 kB


async def read_small_file(
    client: httpx2.AsyncClient, origin: HubOrigin, url: httpx2.URL, headers: Mapping[str, str]
) -> bytes | None:
    """Return None if the file is too large or the Hub itself does not serve it. The token in
    `headers` goes only to `origin`. Raises `httpx2.HTTPError`."""
    # Decompressed data could be a thousand times as large.
    plain = {**headers, "Accept-Encoding": "identity"}
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream("GET", url, headers=plain) as response:
            if not response.has_redirect_location:
                return await _read(response) if response.status_code == 200 else None
        url = response.url.join(response.headers["Location"])
        if not origin.owns(url):
            return None
    return None


async def _read(response: httpx2.Response) -> bytes | None:
    if "Content-Encoding" in response.headers:
        return None
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_BYTES:
            return None
    return bytes(content)
