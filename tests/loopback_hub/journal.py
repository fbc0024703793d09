"""The Hub's requests, in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """One request to either origin. Its token is not kept."""

    method: str
    path: str  # decoded, without the query
    account: str | None  # None: no token; "invalid": unknown token
    host: str = ""  # the host and port of the origin that received it
    status: int | None = None  # None: not answered, or cut off by a fault
