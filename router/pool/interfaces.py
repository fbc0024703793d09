"""What the pool asks of the world. Adapters implement these; tests fake them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.models import EngineSpec, ResolvedModel
from router.scheduler.actions import Allotment
from router.secrets import Token


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """Bytes on disk so far, of the bytes that the snapshot has."""

    done: int
    total: int


class Downloader(Protocol):
    """Brings a repository's files to disk, once, whoever asks."""

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
    ) -> Path:
        """Return the verified snapshot directory; at once where it is on disk already.

        An `AccessError` blames the credential; `HubUnavailable`, `InsufficientDisk`,
        `ModelTooLarge` and `UnsupportedModel` do not. A cancelled call has killed its
        child and swept its partial files by the time `CancelledError` leaves it.
        """
        ...


class EngineStartError(Exception):
    """An engine did not become ready. `reason` is for the operator's log."""

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.out_of_memory = out_of_memory


class Unkillable(Exception):
    """A process group survived SIGKILL: the machine is at fault."""


class Engine(Protocol):
    """One running engine: the process group behind one generation."""

    @property
    def url(self) -> str:
        """Base URL on loopback, without a trailing slash."""
        ...

    @property
    def served_name(self) -> str:
        """What the engine wants to read in the `model` field."""
        ...

    async def exited(self) -> str:
        """Wait until the process has ended by itself; say how, for the log."""
        ...

    async def probe(self) -> bool:
        """Ask whether it still generates. False means dead or stalled."""
        ...

    async def stop(self, *, at_once: bool = False) -> None:
        """End the whole process group, at once or by asking first.

        Raises `Unkillable`; safe to call again.
        """
        ...


class EngineLauncher(Protocol):
    """Turns a spec and a snapshot into an engine that answers."""

    async def start(self, spec: EngineSpec, snapshot: Path, allotment: Allotment) -> Engine:
        """Start the process and wait until it is healthy.

        Raises `EngineStartError` on an early exit, a wrong model or the deadline. However
        this call ends other than by returning, also when cancelled, no process of it
        is left (or `Unkillable` is raised).
        """
        ...


class MemoryGauge(Protocol):
    """The memory that engines compete for: the GPU's, or the host's where there is none."""

    def total(self) -> int:
        """Bytes that the device has."""
        ...

    def free(self) -> int:
        """Bytes measured free just now."""
        ...

    async def recovered(self, target: int) -> int:
        """Wait until `target` bytes are free, or patience ends; return what is free."""
        ...
