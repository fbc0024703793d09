"""A repository's files: small ones from the Hub itself, LFS files through the CDN."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from urllib.parse import quote, urlencode

from aiohttp import web

from tests.loopback_hub.access import Refusal, require_files
from tests.loopback_hub.contents import Blob
from tests.loopback_hub.lookup import Lookup
from tests.loopback_hub.repositories import Repositories

URL_LIFETIME = 3600  # seconds


class Resolve:
    """`/{id}/resolve/{revision}/{path}` on the Hub's origin."""

    def __init__(self, lookup: Lookup, cdn: Cdn) -> None:
        self._lookup = lookup
        self._cdn = cdn

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/{org}/{name}/resolve/{revision}/{path:.+}", self.get)

    async def get(self, request: web.Request) -> web.Response:
        repo = self._lookup.repo(request)
        require_files(repo, self._lookup.caller(request))
        commit = self._lookup.commit(request, repo)
        path = request.match_info["path"]
        blob = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.sha}
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers)
        if blob.pointer_size is None:
            return _content(request, blob, blob.oid, headers)
        headers |= {
            "Location": self._cdn.signed_url(blob, path),
            "X-Linked-Size": str(len(blob.data)),
            "X-Linked-ETag": f'"{blob.sha256}"',
            "ETag": f'"{blob.oid}"',
        }
        return web.Response(status=302, headers=headers, text="Found")


class Cdn:
    """The second origin. It needs no token: a signed address is enough."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories
        self._key = secrets.token_bytes(16)
        self.origin = ""  # known once it serves

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/cdn/{sha256}/{path:.+}", self.get)

    def signed_url(self, blob: Blob, path: str) -> str:
        expires = str(int(time.time()) + URL_LIFETIME)
        query = {"Expires": expires, "Signature": self._sign(blob.sha256, expires)}
        return f"{self.origin}/cdn/{blob.sha256}/{quote(path)}?{urlencode(query)}"

    async def get(self, request: web.Request) -> web.Response:
        sha256 = request.match_info["sha256"]
        expires = request.query.get("Expires", "0")
        signature = self._sign(sha256, expires)
        if not hmac.compare_digest(signature, request.query.get("Signature", "")):
            raise Refusal(403, "Invalid signature")
        if int(expires) < time.time():
            raise Refusal(403, "Request has expired")
        blob = self._repositories.blob(sha256)
        if blob is None:
            raise Refusal(404, "No such object")
        return _content(request, blob, blob.sha256, {})

    def _sign(self, sha256: str, expires: str) -> str:
        return hmac.new(self._key, f"{sha256} {expires}".encode(), hashlib.sha256).hexdigest()


def _content(
    request: web.Request, blob: Blob, etag: str, headers: dict[str, str]
) -> web.Response:
    """The whole file, or the one range that was asked for (RFC 9110, section 14)."""
    headers = headers | {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    size = len(blob.data)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None:
        return web.Response(body=blob.data, headers=headers)
    start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
    if start > end:
        raise Refusal(
            416, "Range not satisfiable", headers={"Content-Range": f"bytes */{size}"}
        )
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return web.Response(status=206, body=blob.data[start : end + 1], headers=headers)
