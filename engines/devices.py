"""The devices, as the start reports them to the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.memory import Gauge, gauge


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device. Sizes in bytes; `driver` is its version, empty if unknown."""

    name: str
    memory: int
    free: int
    driver: str = ""


def devices(environ: Mapping[str, str]) -> tuple[DeviceFacts, ...]:
    """The devices that engines may use. Raises `pynvml.NVMLError`, as `find_gpus` does."""
    return facts_of(gauge(environ))


def facts_of(memory: Gauge) -> tuple[DeviceFacts, ...]:
    return tuple(
        DeviceFacts(one.name() or one.device, one.total(), one.free(), one.driver())
        for one in memory.each
    )
