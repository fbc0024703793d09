"""The Hub's own origin, the only place that tokens may go."""

from __future__ import annotations

import httpx2


class HubOrigin:
    """The scheme, host and port of `HF_ENDPOINT`, which may also have a path."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = httpx2.URL(endpoint.rstrip("/"))

    def owns(self, url: httpx2.URL) -> bool:
        """Whether a token may go to this URL. URLs with a user name never qualify: the client
        would send that name in place of the token."""
        return (
            bool(url.scheme and url.host)
            and not url.userinfo
            and url.origin == self._endpoint.origin
        )

    def is_question(self, url: httpx2.URL) -> bool:
        """Whether this is one of the Hub's metadata routes. Files may be on another host."""
        return self.owns(url) and url.path.startswith(self._prefix + "/api/")

    def brought_home(self, url: httpx2.URL) -> httpx2.URL:
        """Move a URL to this origin, with the same path and query: a mirror repeats the links
        of the Hub behind it."""
        target = url.raw_path.decode("ascii")
        prefix = "" if url.path.startswith(self._prefix + "/") else self._prefix
        scheme, host = self._endpoint.scheme, self._endpoint.netloc.decode("ascii")
        return httpx2.URL(f"{scheme}://{host}{prefix}{target}")

    @property
    def _prefix(self) -> str:
        return self._endpoint.path.rstrip("/")
