"""The router's request to a download process, sent as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Self

from router.hub.errors import HubRequest
from router.repository.conditions import Conditions


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    repo_id: str
    commit: str
    token: str | None = field(repr=False)
    cache: str  # Hub cache directory to download to
    visible: bool  # the repository is known to be public or gated
    max_bytes: int | None
    unsafe_weights: bool
    owner: str  # the name under which it holds the volume lock
    heartbeat: float  # seconds
    source_caches: tuple[str, ...]  # Hub caches that may already have files
    conditions: Conditions | None  # of the engine's start; None: unknown
    inspects: bool = False  # end before the weights, and report the files

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the JSON of `dataclasses.asdict`."""
        fields = json.loads(line)
        if found := fields["conditions"]:
            lists = {name: tuple(found[name]) for name in ("flags", "lacks")}
            fields["conditions"] = Conditions(**found | lists)
        return cls(**fields)

    def on_hub(self, endpoint: str) -> HubRequest:
        """The same request, for translating the Hub's errors."""
        return HubRequest(
            endpoint,
            self.repo_id,
            self.commit,
            with_token=self.token is not None,
            visible=self.visible,
        )
