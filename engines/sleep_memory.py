"""Decides whether engines can sleep, and how much of the host's memory they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

GIB = 1 << 30

_LEAST_RESERVE = 8 * GIB
_RESERVED_SHARE = 4  # a quarter
# torch_memory_saver 0.0.10 refuses expandable segments: an engine would die at its start.
# PyTorch reads the setting from either variable.
_ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


class Host(Protocol):
    """The part of `HostGauge` used here; bytes."""

    def total(self) -> int: ...

    def free(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SleepMemory:
    """`size` in bytes; 0: no engine sleeps. `text` explains it in the log."""

    size: int
    text: str


def reserve(total: int) -> int:
    """Bytes of the host's memory that sleeping engines must leave free.

    The weights of a sleeping engine are pinned: the kernel can neither write them back nor
    swap them, and a container that exceeds its limit is killed as a whole. The reserve is for
    the router, the processes of running engines (2 to 4 GiB each, based on the CPU engine),
    and the page cache for the next model's weights.
    """
    return max(_LEAST_RESERVE, total // _RESERVED_SHARE)


def budget(total: int, free: int, asked: int | None = None) -> int:
    """Bytes for sleeping engines: `asked`, or by default `free` less the reserve.

    Never more than `total` less the reserve. `free` is measured before any engine starts.
    """
    most = max(0, total - reserve(total))
    return min(most, max(0, free - reserve(total)) if asked is None else asked)


def sleep_memory(
    asked: int | None,
    host: Host,
    *,
    on_gpu: bool,
    has_saver: bool,
    environ: Mapping[str, str],
) -> SleepMemory:
    """Decide at the start. `asked`: bytes the operator asked for; None: as many as fit."""
    if asked == 0:
        return SleepMemory(0, "no engine sleeps: SLEEP_MEMORY is 0")
    if not on_gpu:
        return SleepMemory(0, "no engine sleeps: there is no GPU")
    if not has_saver:
        return SleepMemory(0, "no engine sleeps: ENGINE_PYTHON has no torch_memory_saver")
    for name in _ALLOCATOR:
        if "expandable_segments:True" in environ.get(name, "").replace(" ", ""):
            return SleepMemory(0, f"no engine sleeps: {name} has expandable_segments")
    total, free = host.total(), host.free()
    size = budget(total, free, asked)
    if not size:
        return SleepMemory(
            0, f"no engine sleeps: {_gib(free)} of {_gib(total)} host memory are too little"
        )
    less = f", not {_gib(asked)}" if asked is not None and size < asked else ""
    return SleepMemory(size, f"engines may sleep in {_gib(size)} of the host's memory{less}")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
