"""The HTTP client of the download process: it ends the process at the first refusal."""

from __future__ import annotations

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from router.downloads.child_events import ChildEvents
from router.downloads.errors import interrupted
from router.downloads.request import DownloadRequest
from router.downloads.token_guard import Strayed, TokenGuard
from router.hub.errors import hub_error, not_a_hub


class ClientFactory:
    """Makes HTTP clients for `huggingface_hub`."""

    def __init__(self, request: DownloadRequest, events: ChildEvents) -> None:
        self._request, self._events = request, events

    def client(self) -> httpx2.Client:
        guard = TokenGuard(constants.ENDPOINT)

        def keep_home(response: httpx2.Response) -> None:
            try:
                guard.response(response)
            except Strayed:
                self._events.fail(not_a_hub())

        return httpx2.Client(
            follow_redirects=True,
            timeout=None,
            event_hooks={"request": [guard.request], "response": [keep_home, self._check]},
        )

    def _check(self, response: httpx2.Response) -> None:
        """End the process at the first refusal.

        The library would wait for other files first, sleep during a rate limit, or hide a 403
        behind `LocalEntryNotFoundError`.
        """
        status = response.status_code
        if status < 400 or status == 408 or status >= 500:  # the library retries these
            return
        response.read()
        try:
            hf_raise_for_status(response)
        except HfHubHTTPError as error:
            hub = httpx2.URL(constants.ENDPOINT)
            if response.url.host == hub.host and response.url.port == hub.port:
                self._events.fail(hub_error(error, self._request.on_hub(constants.ENDPOINT)))
            # A CDN refused a signed URL, which says nothing about the caller.
            self._events.fail(interrupted())
