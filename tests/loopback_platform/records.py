"""The worker's requests to the platform that do not belong to one job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Take:
    """An answered poll for jobs."""

    at: float  # `time.monotonic()` of the answer
    wanted: int  # maximum number of jobs; above one, the SDK takes a batch
    job_in_progress: bool
    given: tuple[str, ...]  # ids


@dataclass(frozen=True, slots=True)
class Ping:
    """A heartbeat, or the last message of a worker that found itself unfit."""

    at: float
    job_ids: tuple[str, ...]
    status: str | None
    reason: str | None
