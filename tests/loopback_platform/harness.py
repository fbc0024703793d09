"""Fixtures for the SDK's tests: a platform and a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tests.loopback_platform import LoopbackPlatform
from tests.loopback_platform.worker import HandlerProcess

HANGING = 600.0  # seconds that a poll hangs: longer than any test


@dataclass(frozen=True)
class Harness:
    platform: LoopbackPlatform
    worker: HandlerProcess


class Start(Protocol):
    """Starts a worker with its own platform."""

    def __call__(
        self, handler: str, *arguments: str, poll: float = ..., **environ: str
    ) -> Harness: ...


def job_input(*steps: list[Any]) -> dict[str, Any]:
    """An input that makes the handler execute these steps."""
    return {"steps": list(steps)}
