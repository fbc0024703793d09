"""Callers of one engine do not share its prefix cache."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import never, swap

GUARDS = (
    Guard(
        "With strict isolation, a route without a cache salt is off",
        "router.requests.authorization:Authorizer._authorize",
        never("strict_cache_isolation"),
        "tests/requests/test_service.py::"
        "test_strictly_isolated_a_route_without_a_salt_is_switched_off[/v1/messages]",
    ),
    Guard(
        "With strict isolation, an engine that takes no salt keeps no prefix cache",
        "router.config.catalog:_isolation",
        swap("_.strict_cache_isolation", "False"),
        "tests/config/test_catalog.py::"
        "test_strictly_isolated_a_prefix_cache_is_kept_only_where_there_is_a_salt",
    ),
)
