"""Keeps a download's token and API requests at the Hub's own origin.

Without this, `huggingface_hub` sends the token wherever a listing's `Link: rel=next` points,
and to several download hosts that it knows. hf-xet, which is not Python, sends it to any
address in a file's headers.
"""

from __future__ import annotations

import httpx2

from router.hub.origin import HubOrigin

_FOLLOWED = ("next", "xet-auth")  # link relations that the client follows with the token
_XET_ROUTE = "X-Xet-Refresh-Route"  # the older form of xet-auth


class Strayed(Exception):
    """The Hub redirected an API request to another origin."""


class TokenGuard:
    """Hooks for an HTTP client. They see each request and response, and each redirect."""

    def __init__(self, endpoint: str) -> None:
        self._origin = HubOrigin(endpoint)

    def request(self, request: httpx2.Request) -> None:
        """Remove the token from requests to another origin. Signed file URLs need none."""
        if not self._origin.owns(request.url):
            request.headers.pop("Authorization", None)

    def response(self, response: httpx2.Response) -> None:
        """Make every URL that the client follows with the token lead to the Hub's origin.

        Raises `Strayed` if an API request is redirected to another origin.
        """
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
