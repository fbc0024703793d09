"""Callers of one engine do not share its prefix cache."""

from __future__ import annotations

from tests.guards.guard import Guard

GUARDS = (
    Guard(
        "strictly isolated, a route without a salt is off",
        "router/requests/service.py",
        "if self._settings.strict_cache_isolation and route.shares_cache_of(spec.model.task):",
        "if False:",
        "tests/requests/test_service.py::"
        "test_strictly_isolated_a_route_without_a_salt_is_switched_off[/v1/messages]",
    ),
    Guard(
        "strictly isolated, an engine that knows no salt keeps no prefixes",
        "router/config/catalog.py",
        "strict = settings.strict_cache_isolation and task is not Task.GENERATE",
        "strict = False",
        "tests/config/test_catalog.py::"
        "test_strictly_isolated_a_prefix_cache_is_kept_only_where_there_is_a_salt",
    ),
)
