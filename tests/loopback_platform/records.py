"""What the worker asked of the platform, apart from what belongs to one job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Take:
    """A poll for jobs that has been answered."""

    at: float  # `time.monotonic()` of the answer
    wanted: int  # jobs at most; above one the SDK takes a batch
    job_in_progress: bool
    given: tuple[str, ...]  # ids


@dataclass(frozen=True, slots=True)
class Ping:
    """A heartbeat, or the last words of a worker that found itself unfit."""

    at: float
    job_ids: tuple[str, ...]
    status: str | None
    reason: str | None
