"""Decides which hosts this server answers for, and which web pages may call it.

Every page in a browser on this machine can reach a loopback port. A page can use a domain name
that resolves to loopback (DNS rebinding), and then counts as the server's own origin. Or it can
send cross-origin requests and learn something without reading the answers: whether an image
loaded, and how long it took. Browsers report the host and the page of a request, and scripts in
a page can't forge that. Other clients do not send these headers and are not affected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.config.hosts import Authority, Origin, is_loopback
from router.errors import HostNotAllowed, InvalidRequest, OriginNotAllowed
from router.http.headers import Headers

ANY = "*"

# Sent with every answer: other sites must not load it as a page, script or image.
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# `*` covers all headers except Authorization (Fetch, 3.3.5). The server uses no cookies.
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, X-HF-Token, X-Api-Key, X-Request-Id, *"
    ),
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "X-Request-Id, Retry-After, X-Should-Retry"
_OWN_PAGES = {"same-origin", "none"}  # "none": typed into the address bar
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://([^/?#]*)")


@dataclass(frozen=True, slots=True)
class Sites:
    """The hosts and origins that the operator allows.

    * `hosts`: names and addresses, `*.name` for all subdomains, or `*`.
    * `origins`: of pages that may call the server; `*` for all.
    * `on_loopback`: the server listens only there, so other hosts must be listed.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[Origin | str] = frozenset()
    on_loopback: bool = True

    def check_host(self, target: str, headers: Headers) -> None:
        """Check the host of a request. `target` is as in the request line.

        Beyond loopback, every host is accepted unless ALLOWED_HOSTS is set: RunPod's load
        balancer uses its own host name, and there a caller gets no rights from its location.

        Raises `InvalidRequest` or `HostNotAllowed`.
        """
        named = list(headers.getall("host"))
        if len(named) > 1:
            raise InvalidRequest("The `Host` header is there more than once.")
        if ANY in self.hosts or not (self.on_loopback or self.hosts):
            return
        # The host of an absolute URL wins over the header (RFC 9112, 3.2.2).
        if not target.startswith("/") and (absolute := _ABSOLUTE.match(target)):
            named.append(absolute[1])
        # HTTP/1.0 allows requests without a host. Browsers do not send them.
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
        """Raises `OriginNotAllowed` for a page of another origin, unless it is listed."""
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
        """The page's origin as written, if CORS_ORIGINS lists it; `*` if it lists `*`."""
        origins = headers.getall("origin") if self.origins else ()
        if len(origins) != 1:
            return None
        if ANY in self.origins:
            return ANY
        return origins[0] if Origin.read(origins[0]) in self.origins else None

    def response_headers(self, headers: Headers) -> Mapping[str, str]:
        """The headers that every answer to this request has, for browsers."""
        if not self.origins:
            return ALWAYS
        cors = {"Vary": "Origin"}
        if (origin := self.listed_origin(headers)) is not None:
            cors["Access-Control-Allow-Origin"] = origin
            cors["Access-Control-Expose-Headers"] = _EXPOSED
        return {**ALWAYS, **cors}

    def preflight(self, method: str, headers: Headers) -> Mapping[str, str] | None:
        """The answer to a preflight request from a listed origin; else None."""
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
    """Whether an origin is the server's own, as the caller sees it. A proxy may add HTTPS, so
    the scheme is taken from the origin, and the default port is that of the scheme."""
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
