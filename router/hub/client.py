"""An HTTP client for the Hugging Face Hub: resolves names and checks access.

The router has its own client because `huggingface_hub`'s calls for this have no timeout and may
answer from a cache that another caller filled. The router does use its translation of error
responses (`hf_raise_for_status`), but not `build_hf_headers`, which sends a blocking request to
the Hub to detect agents.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import quote

import httpx2
import orjson
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from router.errors import HubUnavailable
from router.hub.errors import DEFAULT_RETRY_AFTER, HubRequest, hub_error, not_a_hub
from router.hub.metadata import read_info
from router.hub.origin import HubOrigin
from router.hub.reasons import reason_of
from router.hub.small_file import MAX_REDIRECTS, read_small_file
from router.models import Access, ModelRef, ResolvedModel
from router.repository import task
from router.repository.adapters import ADAPTER_CONFIG
from router.secrets import Token
from router.side_process import Aside

# Each model has one of these. An adapter has the second and usually not the first; a later
# check of its files explains why it can't be served.
_EVERY_MODEL_HAS = ("config.json", ADAPTER_CONFIG)


class HuggingFaceHub:
    """Implements `Hub` over HTTP, without a cache (see `CachedHub`)."""

    def __init__(
        self,
        endpoint: str,
        *,
        ca_file: str | None = None,
        timeout: float = 10.0,
        patience: float = 5.0,
        aside: Aside | None = None,
    ) -> None:
        """Arguments:

            endpoint    base URL (`HF_ENDPOINT`)
            ca_file     certificate authorities that replace the default ones
            timeout     seconds for one request with its redirects
            patience    seconds to read a file that may determine a model's task
            aside       parses long answers, so that the event loop stays free

        Proxies come from the environment.
        """
        self._endpoint, self._origin = endpoint.rstrip("/"), HubOrigin(endpoint)
        self._timeout, self._patience, self._aside = timeout, patience, aside
        self._verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._client = self._connect()

    def _connect(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._verify,
            timeout=self._timeout,
            limits=httpx2.Limits(max_connections=128, max_keepalive_connections=20),
            # Accept no cookies: one caller's must not be sent with another's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "multi-model-router-worker"},
        )

    async def reconnect(self) -> None:
        """Replace all connections: a freeze of the worker may have broken them silently."""
        old, self._client = self._client, self._connect()
        await old.aclose()

    async def close(self) -> None:
        await self._client.aclose()

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Implements `Hub.resolve`. Reads the metadata, which a gated model shows to everyone,
        and up to two small files that determine the task."""
        path = f"/api/models/{quote(ref.repo_id)}"
        if ref.revision is not None:
            path += f"/revision/{quote(ref.revision, safe='')}"
        request = HubRequest(
            self._endpoint, ref.repo_id, ref.revision, with_token=credential is not None
        )
        response = await self._ask("GET", path, credential)
        _check(response, request)
        model, signs = await read_info(response.content, self._aside)
        while (name := task.unread(signs)) is not None:
            content = await self._read(model, name, credential)
            signs = replace(signs, contents={**signs.contents, name: content})
        return replace(model, task=task.task_of(signs), branch=ref.branch)

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Implements `Hub.entitle`: calls auth-check, then requests a file at this commit.

        auth-check takes no commit, and a mirror may not have it.
        """
        request = HubRequest(
            self._endpoint,
            model.repo_id,
            model.commit,
            with_token=credential is not None,
            visible=model.access in (Access.PUBLIC, Access.GATED),
        )
        name = quote(model.repo_id)
        response = await self._ask("GET", f"/api/models/{name}/auth-check", credential)
        if not (response.status_code == 404 and "X-Error-Code" not in response.headers):
            _check(response, request)
        for file in _EVERY_MODEL_HAS:
            path = f"/{name}/resolve/{quote(model.commit)}/{file}"
            response = await self._ask("HEAD", path, credential)
            if response.headers.get("X-Error-Code") != "EntryNotFound":
                break
        _check(response, request, elsewhere=True)
        # A login page also answers 200, but only the Hub names the commit.
        if response.headers.get("X-Repo-Commit") != model.commit:
            raise not_a_hub()

    async def _read(
        self, model: ResolvedModel, name: str, credential: Token | None
    ) -> object | None:
        """Read a small JSON file. Returns None if that fails, because it is optional."""
        path = f"/{quote(model.repo_id)}/resolve/{quote(model.commit)}/{name}"
        with suppress(httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError):
            async with asyncio.timeout(self._patience):
                content = await read_small_file(
                    self._client, self._origin, self._url(path), _headers(credential)
                )
            return None if content is None else orjson.loads(content)
        return None

    async def _ask(self, method: str, path: str, credential: Token | None) -> httpx2.Response:
        """Send a request. Follow redirects (of a renamed model) within the Hub's own origin.

        Returns a redirect to another origin as the response, so that the token does not go
        there. Raises `HubUnavailable`.
        """
        # Raised outside of `except`: the client's exceptions hold the token.
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(method, self._url(path), _headers(credential))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            cause = reason_of(error, self._timeout)
        raise HubUnavailable(
            "The Hugging Face Hub can't be reached now: try again later.",
            retry_after=DEFAULT_RETRY_AFTER,
            cause=cause,
        )

    def _url(self, path: str) -> httpx2.URL:
        return httpx2.URL(self._endpoint + path)

    async def _follow(
        self, method: str, url: httpx2.URL, headers: dict[str, str]
    ) -> httpx2.Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(method, url, headers)
            if not response.has_redirect_location:
                return response
            url = response.url.join(response.headers["Location"])
            if not self._origin.owns(url):
                return response
        raise not_a_hub()

    async def _send(
        self, method: str, url: httpx2.URL, headers: dict[str, str]
    ) -> httpx2.Response:
        # Retry once: the Hub may just have closed an idle connection.
        with suppress(httpx2.NetworkError, httpx2.RemoteProtocolError):
            return await self._client.request(method, url, headers=headers)
        return await self._client.request(method, url, headers=headers)


def _headers(credential: Token | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential.reveal()}"} if credential else {}


def _check(response: httpx2.Response, request: HubRequest, *, elsewhere: bool = False) -> None:
    """Raise the router's error for an error response.

    `elsewhere`: a redirect to another origin counts as success.
    """
    try:
        hf_raise_for_status(response)
    except HfHubHTTPError as error:
        refusal = hub_error(error, request)
    else:
        if response.status_code == 200 or (elsewhere and response.has_redirect_location):
            return
        refusal = not_a_hub()
    raise refusal  # outside of `except`: the original error holds the token
