"""All incidents. Each is a module with a `TITLE` from docs/operations.md, and `play`."""

from __future__ import annotations

from tests.incidents import crash_loop, flood, full_disk, hub_outage

INCIDENTS = (crash_loop, full_disk, hub_outage, flood)
