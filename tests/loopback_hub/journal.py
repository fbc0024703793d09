"""What the Hub was asked, in the order of arrival."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """One request, to either origin. The token that came with it is not kept."""

    method: str
    path: str  # decoded, without the query
    account: str | None  # None: no token; "invalid": one that no account has
    host: str = ""  # the origin that got it, as a URL's host and port
    status: int | None = None  # None: not answered, or broken off by a fault
