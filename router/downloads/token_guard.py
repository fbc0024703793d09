"""Keeps a download's token, and its questions, at the Hub's own origin.

`huggingface_hub` follows a listing's `Link: rel=next` with the token wherever that leads; its
downloads send the token to several hosts that it knows; hf-xet, which is not Python, sends it
to whatever address a file's headers name.
"""

from __future__ import annotations

import httpx2

from router.hub.origin import HubOrigin

_FOLLOWED = ("next", "xet-auth")  # relations of links that are followed with the token
_XET_ROUTE = "X-Xet-Refresh-Route"  # the older form of the latter


class Strayed(Exception):
    """The Hub sent a question about a repository to another origin."""


class TokenGuard:
    """Hooks of an HTTP client. They see each hop of a redirect, as it goes out or came in."""

    def __init__(self, endpoint: str) -> None:
        self._origin = HubOrigin(endpoint)

    def request(self, request: httpx2.Request) -> None:
        """Send no token to another origin. Signed addresses of files need none."""
        if not self._origin.owns(request.url):
            request.headers.pop("Authorization", None)

    def response(self, response: httpx2.Response) -> None:
        """Let no question be redirected to another origin, and have each address that is
        followed with the token lead to this one. Raises `Strayed`."""
        if not self._origin.owns(response.url):
            return
        try:
            self._check_redirect(response)
            self._bring_home(response)
        except (httpx2.InvalidURL, ValueError):
            raise Strayed from None

    def _check_redirect(self, response: httpx2.Response) -> None:
        if response.has_redirect_location and self._origin.is_question(response.url):
            target = response.url.join(response.headers["Location"])
            if not self._origin.owns(target):
                raise Strayed

    def _bring_home(self, response: httpx2.Response) -> None:
        links = {rel: link["url"] for rel, link in response.links.items() if rel in _FOLLOWED}
        if links:
            home = {rel: self._home(response.url.join(url)) for rel, url in links.items()}
            response.headers["Link"] = ", ".join(
                f'<{url}>; rel="{rel}"' for rel, url in home.items()
            )
        if route := response.headers.get(_XET_ROUTE):
            response.headers[_XET_ROUTE] = str(self._home(response.url.join(route)))

    def _home(self, url: httpx2.URL) -> httpx2.URL:
        return url if self._origin.owns(url) else self._origin.brought_home(url)
