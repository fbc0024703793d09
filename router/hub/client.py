"""The Hugging Face Hub, asked directly: what a name stands for, and who may read it.

A client of our own, because `huggingface_hub`'s calls on this path have no timeout and
answer from the cache of whoever came before. Its reading of refusals is used
(`hf_raise_for_status`), its `build_hf_headers` is not: that detects agents, by a blocking
request to the Hub of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import httpx2
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from router.errors import HubUnavailable, InvalidModelId, ModelDisabled, UnsupportedModel
from router.hub.errors import DEFAULT_RETRY_AFTER, HubRequest, hub_error
from router.models import Access, ModelRef, ResolvedModel, Task
from router.secrets import Token

MAX_REDIRECTS = 5
_EMBEDDING_FILES = ("modules.json", "config_sentence_transformers.json")


class HuggingFaceHub:
    """Implements the port `Hub` over HTTP. Asks every time; `CachedHub` remembers."""

    def __init__(
        self, endpoint: str, *, ca_file: str | None = None, timeout: float = 10.0
    ) -> None:
        """`timeout` is in seconds, for one request with its redirects.

        `ca_file` replaces the usual authorities; proxies are taken from the environment,
        as everywhere.
        """
        self._endpoint = endpoint.rstrip("/")
        self._timeout = timeout
        self._verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._client = self._connect()

    def _connect(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._verify,
            timeout=self._timeout,
            # A cookie that came with one caller's answer must not go with another's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "multi-model-router-worker"},
        )

    async def reconnect(self) -> None:
        """Leave connections behind that a freeze may have cut, without a word to us."""
        old, self._client = self._client, self._connect()
        await old.aclose()

    async def close(self) -> None:
        await self._client.aclose()

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Implements `Hub.resolve`. Metadata only: a gated model resolves for everybody."""
        path = f"/api/models/{quote(ref.repo_id)}"
        if ref.revision is not None:
            path += f"/revision/{quote(ref.revision, safe='')}"
        request = HubRequest(
            self._endpoint, ref.repo_id, ref.revision, with_token=credential is not None
        )
        response = await self._ask("GET", path, credential)
        _check(response, request)
        return _read(response)

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Implements `Hub.entitle`: by auth-check, and by config.json at this very commit.

        auth-check knows no commit, and a mirror may lack it; the file's head alone is what
        the engine needs. Raises `UnsupportedModel` too, where there is no config.json.
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
        response = await self._ask(
            "HEAD", f"/{name}/resolve/{quote(model.commit)}/config.json", credential
        )
        _check(response, request, elsewhere=True)
        # A login page answers 200, too; only the Hub itself names the commit.
        if response.headers.get("X-Repo-Commit") != model.commit:
            raise _nonsense()

    async def _ask(self, method: str, path: str, credential: Token | None) -> httpx2.Response:
        """Ask, and follow redirects (a renamed model) within the Hub's own origin.

        A redirect to another origin is returned as it is: the token stays here.
        """
        headers = {"Authorization": f"Bearer {credential.reveal()}"} if credential else {}
        # Raised below, not in an `except`: the client's exceptions hold the token.
        with suppress(httpx2.HTTPError, httpx2.InvalidURL, TimeoutError):
            async with asyncio.timeout(self._timeout):
                return await self._follow(method, httpx2.URL(self._endpoint + path), headers)
        raise HubUnavailable(
            "The Hugging Face Hub can't be reached just now: try again later.",
            retry_after=DEFAULT_RETRY_AFTER,
        )

    async def _follow(
        self, method: str, url: httpx2.URL, headers: dict[str, str]
    ) -> httpx2.Response:
        home = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(method, url, headers)
            if not response.has_redirect_location:
                return response
            url = response.url.join(response.headers["Location"])
            if _origin(url) != home:
                return response
        raise _nonsense()

    async def _send(
        self, method: str, url: httpx2.URL, headers: dict[str, str]
    ) -> httpx2.Response:
        # A kept connection may have been closed at the other end just now: once more.
        with suppress(httpx2.NetworkError, httpx2.RemoteProtocolError):
            return await self._client.request(method, url, headers=headers)
        return await self._client.request(method, url, headers=headers)


def _check(response: httpx2.Response, request: HubRequest, *, elsewhere: bool = False) -> None:
    """Raise what a refusal means; `elsewhere`: a redirect to another origin will do."""
    try:
        hf_raise_for_status(response)
    except HfHubHTTPError as error:
        refusal = hub_error(error, request)
    else:
        if response.status_code == 200 or (elsewhere and response.has_redirect_location):
            return
        refusal = _nonsense()
    raise refusal  # outside of `except`: the other error holds the token


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _nonsense() -> HubUnavailable:
    return HubUnavailable(
        "What answered does not speak as the Hugging Face Hub does: check HF_ENDPOINT.",
        retry_after=DEFAULT_RETRY_AFTER,
    )


def _read(response: httpx2.Response) -> ResolvedModel:
    try:
        info = response.json()
        name, commit = ModelRef.parse(info["id"]).repo_id, info["sha"]
        files = [file["rfilename"] for file in info.get("siblings") or ()]
        task = _task(files, _architectures(info))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidModelId):
        raise _nonsense() from None
    if info.get("disabled"):
        raise ModelDisabled(f"The model {name} was disabled on the Hugging Face Hub.")
    if not ModelRef(name, commit).is_commit:
        raise UnsupportedModel(f"The model {name} has no commit.")
    return ResolvedModel(name, commit, task, _access(info))


def _access(info: dict[str, Any]) -> Access:
    if info.get("private"):
        return Access.PRIVATE
    return Access.GATED if info.get("gated") else Access.PUBLIC


def _architectures(info: dict[str, Any]) -> list[str]:
    """By the repository's own config.json, which may say anything."""
    named = (info.get("config") or {}).get("architectures")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _task(files: Iterable[str], architectures: Iterable[str]) -> Task:
    """What the repository is for, by the files and names that its makers' tools write."""
    if any(name in _EMBEDDING_FILES or name.startswith("1_Pooling/") for name in files):
        return Task.EMBED
    if any(
        name.endswith("ForSequenceClassification") or "RewardModel" in name
        for name in architectures
    ):
        return Task.CLASSIFY
    return Task.GENERATE
