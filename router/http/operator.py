"""Lets the operator in, and nobody else: to metrics, and to what tells of all models."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol

from router.errors import InvalidApiKey, RouteNotFound, RouterError
from router.http.answers import HttpAnswer
from router.http.http_request import HttpRequest
from router.http.incoming import offered_keys
from router.http.request_head import RequestHead
from router.http.sites import Sites
from router.secrets import Secret, digest_of

_THIS_MACHINE = Sites()  # no host, page or proxy beyond loopback, whatever the settings allow
# What proxies add, each its own: some tell of the host or the scheme, and not of the caller.
_PROXIED = (
    "forwarded",
    "x-real-ip",
    "via",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxyuser-ip",
    "do-connecting-ip",
)
_PROXIED_BEGIN = (
    "x-forwarded-",
    "x-original-",
    "x-envoy-",
    "x-amzn-",
    "cf-",
    "fastly-",
    "fly-",
    "x-appengine-",
    "x-azure-",
    "x-arr-",
    "x-vercel-",
    "tailscale-",
)


class OperatorRoutes(Protocol):
    """Routes that only the operator may use."""

    @property
    def label(self) -> str:
        """What the access log calls them."""
        ...

    @property
    def shows_data(self) -> bool:
        """False: what they answer is the same for everybody, and holds nothing of the worker.
        Where there is a key, they need none."""
        ...

    def has(self, path: str) -> bool:
        """Whether a path is theirs."""
        ...

    async def serve(self, request: HttpRequest) -> HttpAnswer | None:
        """Answer the operator. None: it was sent already. Raises `RouterError`."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorGuard:
    """Lets the operator in.

    With `admin_key`, a caller that sends it as an API key is the operator. Without one, the
    operator is on this machine: the server listens `on_loopback` alone, and the request
    comes neither from a web page elsewhere nor through a proxy.
    """

    admin_key: Secret | None = None
    on_loopback: bool = False

    def check(self, head: RequestHead) -> None:
        """Raises `InvalidApiKey` for a wrong key, and `RouteNotFound` where there is no
        key: then the operator's routes do not exist for this caller."""
        if self.admin_key is None:
            if not self._is_local(head):
                raise RouteNotFound("No such route.")
            return
        known = self.admin_key.digest
        # Every offered key is compared, so that the time tells nothing.
        offered = map(digest_of, offered_keys(head.headers))
        if not sum(hmac.compare_digest(digest, known) for digest in offered):
            raise InvalidApiKey("This is for the operator: send ADMIN_API_KEY as the API key.")

    def admits(self, head: RequestHead, routes: OperatorRoutes) -> bool:
        """False: to this caller, the operator's routes do not exist. Raises `InvalidApiKey`."""
        if self.admin_key is not None and not routes.shows_data:
            return True
        try:
            self.check(head)
        except RouteNotFound:
            return False
        return True

    def _is_local(self, head: RequestHead) -> bool:
        if not self.on_loopback or any(map(_is_proxys, head.headers)):
            return False
        try:
            _THIS_MACHINE.check_host(head.target, head.headers)
            _THIS_MACHINE.check_page(head.headers)
        except RouterError:
            return False
        return True


def _is_proxys(name: str) -> bool:
    """Whether a header says that a proxy has passed the request on."""
    return name in _PROXIED or name.startswith(_PROXIED_BEGIN)
