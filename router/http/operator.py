"""Restricts metrics, state and other data about all models to the operator."""

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

_THIS_MACHINE = Sites()  # loopback hosts and own pages only, whatever the settings allow
# Headers that proxies add. Some proxies add only the host or scheme, not the caller's address.
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
    """A set of routes that only the operator may use."""

    @property
    def label(self) -> str:
        """The name of these routes in the access log."""
        ...

    @property
    def shows_data(self) -> bool:
        """Whether the answers contain data of the worker. If not, everybody may use these
        routes where there is an admin key."""
        ...

    def has(self, path: str) -> bool:
        """Whether a path belongs to these routes."""
        ...

    async def serve(self, request: HttpRequest) -> HttpAnswer | None:
        """Answer the operator; None if the answer is already sent. Raises `RouterError`."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorGuard:
    """Decides whether a request comes from the operator.

    With `admin_key`, the operator is the caller that sends it as an API key. Without it, the
    operator must be on this machine: the server listens on loopback only (`on_loopback`), and
    the request comes neither from another site's web page nor through a proxy.
    """

    admin_key: Secret | None = None
    on_loopback: bool = False

    def check(self, head: RequestHead) -> None:
        """Raises `InvalidApiKey` for a wrong key. Without an admin key, raises `RouteNotFound`
        unless the request comes from this machine."""
        if self.admin_key is None:
            if not self._is_local(head):
                raise RouteNotFound("No such route.")
            return
        known = self.admin_key.digest
        # Compare all offered keys, so that the time does not reveal which one matched.
        offered = map(digest_of, offered_keys(head.headers))
        if not sum(hmac.compare_digest(digest, known) for digest in offered):
            raise InvalidApiKey("This is for the operator: send ADMIN_API_KEY as the API key.")

    def admits(self, head: RequestHead, routes: OperatorRoutes) -> bool:
        """Return False if these routes do not exist for the caller. Raises `InvalidApiKey`."""
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
    """Whether a proxy adds this header."""
    return name in _PROXIED or name.startswith(_PROXIED_BEGIN)
