"""The operator's limits, for the whole worker and for each caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# While several callers use an engine, each leaves one place in eight free for the others.
LEFT_FREE = 8
FEW_PLACES = 4  # with fewer places, none is left free


class Eviction(StrEnum):
    """The order in which engines make room."""

    COST = "cost"  # least loss first: how soon it is needed again, and that cost
    LRU = "lru"  # least recently used first


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits. Times are in seconds, memory is in bytes."""

    budget: int  # of each device
    max_loaded: int | None = None  # None: as many as fit
    max_queue: int = 256
    max_concurrency: int = 64  # leases per engine
    patience: float | None = None  # seconds to wait for a busy engine; None: by swap time
    eviction: Eviction = Eviction.COST
    whole_device: bool = False  # a model that is alone gets the whole budget
    standby: int = 0  # how many prestarted processes may wait at their gates
    standby_claim: int = 0  # memory of each such process on the device
    stall_timeout: float = 120.0
    fetch_linger: float = 60.0
    max_downloads: int = 2
    sleep_memory: int = 0  # host memory for sleeping engines; 0: no engine sleeps
    # For the start of a model that the operator did not list, while another caller waits; None:
    # it depends on the model's size.
    contested_start_timeout: float | None = None
    # Limits per caller; None: no limit.
    max_concurrency_per_caller: int | None = None  # leases per engine
    max_queue_per_caller: int | None = None
    max_starts_per_caller: int | None = None  # per minute
    max_models_per_caller: int | None = None  # loaded at once, for this caller alone
    max_download_per_caller: int | None = None  # bytes per hour
    devices: int = 1  # `budget` is that of the smallest device


def left_free(places: int) -> int:
    """How many places of an engine one caller leaves free for the others."""
    return max(1, places // LEFT_FREE) if places >= FEW_PLACES else 0
