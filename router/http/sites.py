"""Which hosts this server answers for, and which web pages may call it.

A port on loopback is open to every page that a browser on this machine shows. The page can
use a name of its own that leads here (DNS rebinding), and then is of the server's own origin;
or it can ask across origins, and learn from what it can't read: whether an image loaded, how
long it took. Browsers say which host and which page a request is of, and nothing that runs
in a page can change that. Other clients say nothing about pages, and are not affected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.config.hosts import Authority, Origin, is_loopback
from router.errors import HostNotAllowed, InvalidRequest, OriginNotAllowed
from router.http.headers import Headers

ANY = "*"

# With every answer: it is no page, script or image to be looked at, by any other site.
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# `*` covers all headers but this one (Fetch, 3.3.5). Cookies have no meaning here.
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, X-HF-Token, X-Api-Key, X-Request-Id, *"
    ),
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "X-Request-Id, Retry-After, X-Should-Retry"
_OWN_PAGES = {"same-origin", "none"}  # "none": the address bar
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://([^/?#]*)")


@dataclass(frozen=True, slots=True)
class Sites:
    """What the operator allows.

    * `hosts`: names and addresses, `*.name` for all names below one, or `*`.
    * `origins`: of pages that may call the server; `*` for all.
    * `on_loopback`: the server listens there alone, so that no other host is meant.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[Origin | str] = frozenset()
    on_loopback: bool = True

    def check_host(self, target: str, headers: Headers) -> None:
        """Check the host that a request is for; `target` as in the request line.

        Beyond loopback every host will do unless ALLOWED_HOSTS is set: RunPod's load
        balancer has its own, and no model is served there because of the place.

        Raises `InvalidRequest` and `HostNotAllowed`.
        """
        named = list(headers.getall("host"))
        if len(named) > 1:
            raise InvalidRequest("The `Host` header is there more than once.")
        if ANY in self.hosts or not (self.on_loopback or self.hosts):
            return
        # The host of an absolute URL wins over the header (RFC 9112, 3.2.2).
        if not target.startswith("/") and (absolute := _ABSOLUTE.match(target)):
            named.append(absolute[1])
        # HTTP/1.0 has requests without a host. No browser sends them.
        for text in named:
            authority = Authority.read(text)
            if authority is None:
                raise InvalidRequest("The `Host` header is malformed.")
            if not self._is_ours(authority.host):
                raise HostNotAllowed(
                    "This server does not answer for that host. Use a loopback address, or "
                    "have the operator add the host to ALLOWED_HOSTS."
                )

    def check_page(self, headers: Headers) -> None:
        """Raises `OriginNotAllowed` for a page of another origin that may not call."""
        if ANY in self.origins:
            return
        if origins := headers.getall("origin"):
            if self.listed_origin(headers) is not None:
                return
            if len(origins) > 1 or not _is_own(origins[0], headers.getall("host")):
                raise _foreign()
        for site in headers.getall("sec-fetch-site"):
            if site not in _OWN_PAGES:
                raise _foreign()

    def listed_origin(self, headers: Headers) -> str | None:
        """The origin of the page, as written, where CORS_ORIGINS lists it; `*` where all
        may call."""
        origins = headers.getall("origin") if self.origins else ()
        if len(origins) != 1:
            return None
        if ANY in self.origins:
            return ANY
        return origins[0] if Origin.read(origins[0]) in self.origins else None

    def response_headers(self, headers: Headers) -> Mapping[str, str]:
        """What every answer to this request says to browsers."""
        if not self.origins:
            return ALWAYS
        cors = {"Vary": "Origin"}
        if (origin := self.listed_origin(headers)) is not None:
            cors["Access-Control-Allow-Origin"] = origin
            cors["Access-Control-Expose-Headers"] = _EXPOSED
        return {**ALWAYS, **cors}

    def preflight(self, method: str, headers: Headers) -> Mapping[str, str] | None:
        """The answer to a browser that asks what a listed page may send; else None."""
        asks = headers.getall("access-control-request-method")
        if method != "OPTIONS" or not asks or self.listed_origin(headers) is None:
            return None
        if headers.getall("access-control-request-private-network"):
            return {**_PREFLIGHT, "Access-Control-Allow-Private-Network": "true"}
        return _PREFLIGHT

    def _is_ours(self, host: str) -> bool:
        if host in self.hosts or is_loopback(host):
            return True
        _, _, domain = host.partition(".")
        while domain:
            if f"*.{domain}" in self.hosts:
                return True
            _, _, domain = domain.partition(".")
        return False


def _is_own(text: str, hosts: Sequence[str]) -> bool:
    """Whether an origin is that of the server, as the caller knows it. Where a proxy speaks
    HTTPS for this server, the scheme is not known here, and the port is that scheme's."""
    origin = Origin.read(text)
    host = Authority.read(hosts[0]) if len(hosts) == 1 else None
    if origin is None or host is None or origin.scheme not in {"http", "https"}:
        return False
    return host.of(origin.scheme) == origin.authority


def _foreign() -> OriginNotAllowed:
    return OriginNotAllowed(
        "Web pages of other origins may not call this server, unless the operator lists their "
        "origin in CORS_ORIGINS."
    )
