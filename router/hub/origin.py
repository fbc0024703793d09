"""The Hub's own origin: where a token may go."""

from __future__ import annotations

import httpx2


class HubOrigin:
    """Scheme, host and port of `HF_ENDPOINT`, which may have a path of its own besides."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = httpx2.URL(endpoint.rstrip("/"))

    def owns(self, url: httpx2.URL) -> bool:
        """Whether a token may go there. A URL with a user name in it is nobody's: the client
        would send that name in the token's place."""
        return (
            bool(url.scheme and url.host)
            and not url.userinfo
            and url.origin == self._endpoint.origin
        )

    def is_question(self, url: httpx2.URL) -> bool:
        """Whether this is one of the Hub's metadata routes; files may lie elsewhere."""
        return self.owns(url) and url.path.startswith(self._prefix + "/api/")

    def brought_home(self, url: httpx2.URL) -> httpx2.URL:
        """The same path and query on this origin: a mirror passes on the links of the Hub
        behind it."""
        target = url.raw_path.decode("ascii")
        prefix = "" if url.path.startswith(self._prefix + "/") else self._prefix
        scheme, host = self._endpoint.scheme, self._endpoint.netloc.decode("ascii")
        return httpx2.URL(f"{scheme}://{host}{prefix}{target}")

    @property
    def _prefix(self) -> str:
        return self._endpoint.path.rstrip("/")
