"""The machine and the models of a trace, as values in bytes, seconds and bytes per second."""

from __future__ import annotations

from dataclasses import dataclass

from router.models import EngineSpec, MemoryPlan, ModelGroup, ResolvedModel

GB = 10**9
MB = 10**6

BYTES_8B = 16 * GB  # the weights of a model of 8 billion parameters, two bytes each


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device and its host.

    A cold start of an 8B model takes 40 s: 18 s for the process's imports, 18 s to read the
    weights, 4 s to warm up. The time to read is proportional to the size of the weights.
    """

    device: int = 80 * GB
    process_start: float = 18.0
    load_rate: float = BYTES_8B / 18.0  # shared by all engines that load at once
    warm_up: float = 4.0
    stop: float = 2.0
    token: float = 0.020  # per request, however many are in flight
    host_rate: float = 20.0 * GB  # between the device and the host's memory
    host_pause: float = 0.5  # for each sleep and each wake, besides the copy
    asleep_holds: int = 400 * MB  # held on the device by a sleeping engine
    download: float = 0.0  # 0: every model is on the disk

    def load(self, weights: int) -> float:
        """The seconds that an engine needs after its gate: reading and warm-up."""
        return weights / self.load_rate + self.warm_up

    def cold_start(self, weights: int) -> float:
        return self.process_start + self.load(weights)

    def copy(self, weights: int) -> float:
        """The time of a sleep or a wake."""
        return weights / self.host_rate + self.host_pause


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    weights: int = BYTES_8B  # on each of its devices
    beside: int = 2 * GB  # bytes besides the weights: context, activations, KV cache
    devices: int = 1
    reads: int | None = None  # bytes that its start reads; None: its weights
    group: ModelGroup | None = None

    @property
    def to_read(self) -> int:
        return self.weights if self.reads is None else self.reads

    @property
    def bytes(self) -> int:
        return self.weights + self.beside

    @property
    def plan(self) -> MemoryPlan:
        """The repository's plan. `beside` is its overhead and the cache of one context."""
        overhead = self.beside // 2
        context = 8192
        token = (self.beside - overhead) // context
        return MemoryPlan(self.weights, token, overhead, context, devices=self.devices)

    def spec(self, *, declared: bool) -> EngineSpec:
        return EngineSpec(
            ResolvedModel(f"bench/{self.name}", "c" * 40),
            memory=self.bytes if declared else None,
            listed=declared,
            group=self.group,
        )
