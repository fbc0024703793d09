"""What the operator allows, for the whole worker and for each caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Of the places of an engine that several callers use, each leaves one in eight for the others.
LEFT_FREE = 8
FEW_PLACES = 4  # an engine with fewer has none to leave free


class Eviction(StrEnum):
    """In which order engines make room."""

    COST = "cost"  # the least loss first: how soon it is wanted back, and what that costs
    LRU = "lru"  # the least recently used first


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. Times in seconds, memory in bytes."""

    budget: int  # of each device
    max_loaded: int | None = None  # None: as many as fit
    max_queue: int = 256
    max_concurrency: int = 64  # leases per engine
    patience: float | None = None  # how long a model waits for a busy one; None: by the swap
    eviction: Eviction = Eviction.COST
    whole_device: bool = False  # a model that is alone gets all of the budget
    standby: int = 0  # processes that may wait at their gates
    standby_claim: int = 0  # of each, on the device
    stall_timeout: float = 120.0
    fetch_linger: float = 60.0
    max_downloads: int = 2
    sleep_memory: int = 0  # of the host, for engines that sleep; 0: none does
    # For the start of a model that the operator did not name, while another caller waits;
    # None: by its size.
    contested_start_timeout: float | None = None
    # For each caller; None: no limit.
    max_concurrency_per_caller: int | None = None  # leases per engine
    max_queue_per_caller: int | None = None
    max_starts_per_caller: int | None = None  # a minute
    max_models_per_caller: int | None = None  # loaded at once, for this caller alone
    max_download_per_caller: int | None = None  # bytes an hour
    devices: int = 1  # all alike: `budget` is that of the smallest


def left_free(places: int) -> int:
    """How many of an engine's places one caller leaves to the others."""
    return max(1, places // LEFT_FREE) if places >= FEW_PLACES else 0
