"""The operator's page at `/ui/`: static files that contain no data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from router.errors import RouteNotFound
from router.http.answers import READ, HttpAnswer, method_not_allowed
from router.http.http_request import HttpRequest

ROOT = "/ui"
_FIRST = "index.html"
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
# The page runs only its own scripts and connects only to this server. It shows text from
# strangers, and none of that text can become a script, a style or markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # the browser revalidates, so that a new version shows at once
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """`tag` is the ETag, a digest of the content."""

    content: bytes
    content_type: str
    tag: str


def read_page(folder: Traversable) -> dict[str, PageFile]:
    """Read the files of a page, by name. Raises `OSError`."""
    found = {}
    for file in folder.iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            content = file.read_bytes()
            tag = hashlib.sha256(content).hexdigest()[:32]
            found[file.name] = PageFile(content, content_type, f'"{tag}"')
    return found


class PageRoutes:
    """Implements `OperatorRoutes`."""

    label = ROOT
    shows_data = False

    def __init__(self, files: Mapping[str, PageFile], *, needs_key: bool = False) -> None:
        """`needs_key`: the data that the page shows require the operator's key."""
        self._files = files
        self._headers = {**_HEADERS, **({"Operator-Key": "needed"} if needs_key else {})}

    def has(self, path: str) -> bool:
        return path == ROOT or path.startswith(f"{ROOT}/")

    async def serve(self, request: HttpRequest) -> HttpAnswer:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        if request.path == ROOT:
            # A relative location also works behind a proxy that adds a path prefix.
            return HttpAnswer(308, {"Location": "ui/"})
        file = self._files.get(request.path.removeprefix(f"{ROOT}/") or _FIRST)
        if file is None:
            raise RouteNotFound("No such file of the operator's page.")
        headers = {**self._headers, "ETag": file.tag}
        if file.tag in request.headers.get("if-none-match"):
            return HttpAnswer(304, headers)
        headers["Content-Type"] = f"{file.content_type}; charset=utf-8"
        return HttpAnswer(200, headers, file.content)
