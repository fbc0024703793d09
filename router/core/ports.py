"""What the core asks of the world. Adapters implement these; tests fake them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.core.models import EngineSpec, ModelRef, ResolvedModel

Clock = Callable[[], float]  # seconds, monotonic


class Credential(Protocol):
    """A caller's Hub token. The core compares digests and never reads the rest."""

    @property
    def digest(self) -> str:
        """Names the token without giving it away."""
        ...

    def reveal(self) -> str:
        """The token itself, for the Hub alone."""
        ...


class Hub(Protocol):
    """Who may use what. `None` asks anonymously."""

    async def resolve(self, ref: ModelRef, credential: Credential | None) -> ResolvedModel:
        """Find the canonical id and the commit. Raises `AccessError`, `HubUnavailable`."""
        ...

    async def entitle(self, model: ResolvedModel, credential: Credential | None) -> None:
        """Return where this credential may read the files of this commit.

        Raises `AccessError` where it may not, `HubUnavailable` where nobody could say.
        """
        ...


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
        credential: Credential | None,
        progress: Callable[[FetchProgress], None],
    ) -> Path:
        """Return the verified snapshot directory; at once where it is on disk already.

        An `AccessError` blames the credential; `HubUnavailable`, `InsufficientDisk`,
        `ModelTooLarge` and `UnsupportedModel` do not. A cancelled call has killed its
        child and swept its partial files by the time `CancelledError` leaves it.
        """
        ...


class StartFailed(Exception):
    """An engine did not become ready. `reason` is for the operator's log."""

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.out_of_memory = out_of_memory


class Unkillable(Exception):
    """A process group survived SIGKILL: the machine is at fault."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """The accelerator memory that one start may count on, in bytes."""

    claim: int  # what the pool has set aside for this engine
    free: int  # what was measured free just before the start
    whole: bool  # the engine has the accelerator to itself
    smaller: bool = False  # the start before this one ran out of memory


class Engine(Protocol):
    """One running engine: the process group behind one incarnation."""

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

        Raises `StartFailed` on an early exit, a wrong model or the deadline. However
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


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent to an engine. `headers` are already on the allow-list."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class UpstreamLost(Exception):
    """The connection to the engine failed or broke off; the engine may be dead."""


class UpstreamResponse(Protocol):
    """An engine's answer: the head is here, the body arrives as it is generated."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that may be shown to the caller."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive. Raises `UpstreamLost` if they break off."""
        ...


class Relay(Protocol):
    """The way to an engine."""

    def open(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send, and give the answer's head. Leaving the block ends the exchange: what
        is still being generated is cancelled upstream. Raises `UpstreamLost`."""
        ...
