"""The operator's routes on the ingress of a fleet, below `/admin/`."""

from __future__ import annotations

from typing import Protocol

from router.errors import RouteNotFound
from router.http.admin_routes import PREFIX
from router.http.answers import READ, HttpAnswer, json_answer, method_not_allowed
from router.http.http_request import HttpRequest

_STATE = f"{PREFIX}state"


class FleetShown(Protocol):
    async def state(self) -> bytes:
        """The state of the ingress and of all replicas, as JSON."""
        ...


class FleetRoutes:
    """Implements `OperatorRoutes`."""

    label = "/admin"
    shows_data = True

    def __init__(self, fleet: FleetShown) -> None:
        self._fleet = fleet

    def has(self, path: str) -> bool:
        return path.startswith(PREFIX)

    async def serve(self, request: HttpRequest) -> HttpAnswer:
        if request.path != _STATE:
            raise RouteNotFound(f"No such route. There is: {_STATE}.")
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        return json_answer(await self._fleet.state())
