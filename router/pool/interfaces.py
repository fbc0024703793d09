"""What the pool needs from other rooms. Adapters implement these; tests fake them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.models import EngineSpec, MemoryPlan, ResolvedModel
from router.scheduler.actions import Allotment
from router.secrets import Secret, Token


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files on the disk, and what they tell of an engine's memory."""

    path: Path
    plan: MemoryPlan | None = None  # None: they do not tell


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a download is, in bytes of the snapshot.

    `described`: the snapshot's directory, once the small files are there under their final
    names (configuration, tokenizer) and have passed the checks: the weights may be missing.
    """

    done: int  # on disk
    total: int
    queued: bool = False  # it waits until other downloads end
    described: Snapshot | None = None


# The callers that wait for something at the moment; None is the operator.
Callers = Callable[[], Collection[str | None]]


def the_operator() -> Collection[None]:
    """`Callers` of what no caller asked for."""
    return (None,)


class Downloader(Protocol):
    """Downloads a repository's files, once for all callers."""

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
        callers: Callers = the_operator,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> Snapshot:
        """Return the verified snapshot; at once if it is on disk already.

        `progress` is called at least once, with the size of the snapshot, before this
        returns. `callers`: the callers that wait for it now; downloads take turns by them.
        `flags`: of the engine that it is for, which decide whether it can be served.
        `claim`: bytes of each GPU that the operator grants that engine; None: unsaid.

        Raises `AccessError` where the Hub refuses the credential; `HubUnavailable`,
        `InsufficientDisk`, `ModelTooLarge` or `UnsupportedModel` where another credential
        would not help. Once cancelled, it raises `CancelledError` only after its child
        process is dead and its partial files are removed.
        """
        ...


class EngineStartError(Exception):
    """An engine did not become ready.

    * `reason` is for the operator's log, and `told` for callers; empty: nothing.
    * `unsupported`: no further start would help.
    """

    def __init__(
        self,
        reason: str,
        *,
        told: str = "",
        out_of_memory: bool = False,
        unsupported: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.told = reason, told
        self.out_of_memory, self.unsupported = out_of_memory, unsupported


class SleepError(Exception):
    """An engine could not fall asleep or wake, and is of no more use. Why, for the log."""


class Unkillable(Exception):
    """A process group survived SIGKILL: the machine is at fault."""


class Engine(Protocol):
    """One running engine: the process group behind one generation."""

    @property
    def url(self) -> str:
        """Base URL on loopback, without a trailing slash."""
        ...

    @property
    def door_key(self) -> Secret:
        """Goes with every request, as `Authorization: Bearer`: without it nobody is served."""
        ...

    @property
    def served_name(self) -> str:
        """The name that the engine expects in the `model` field."""
        ...

    @property
    def context_length(self) -> int | None:
        """How many tokens a request may have in all; None if the engine does not say."""
        ...

    @property
    def phases(self) -> Mapping[str, float]:
        """What parts of its start took, in seconds, by the engine's own names for them; empty
        if it does not say."""
        ...

    @property
    def vocabulary(self) -> int | None:
        """How many tokens the model knows, 0 being the first; None if nothing tells."""
        ...

    @property
    def scores_pairs(self) -> bool | None:
        """Whether a classifier takes pairs of texts alone, or no pairs; None: it takes both."""
        ...

    async def exited(self) -> str:
        """Wait until the process has ended by itself. Returns how, for the log."""
        ...

    async def probe(self) -> bool:
        """Whether the engine still generates. False: it is dead or stalled.

        One that sleeps, or is about to, is not asked.
        """
        ...

    async def sleep(self) -> None:
        """Give the device's memory back, but keep what is needed to wake.

        Only where no request is in flight; none may come before `wake` has returned.
        Raises `SleepError` if the engine can't, or takes too long. It must then be stopped.
        """
        ...

    async def wake(self) -> None:
        """Take the device's memory again; the engine answers when this returns.

        Only an engine that sleeps. Raises `SleepError`; the engine must then be stopped.
        """
        ...

    async def stop(self, *, at_once: bool = False) -> None:
        """End the whole process group: by a signal that it can handle first, or `at_once`.

        Raises `Unkillable`. Can be called again.
        """
        ...


class Gate(Protocol):
    """Where an engine waits before it takes memory of the device, if it can."""

    def standing(self) -> None:
        """The engine waits now. Called once, or never: not every engine can wait."""
        ...

    async def opened(self) -> Allotment:
        """Wait until it may take memory. Returns what it may count on by then."""
        ...


class EngineLauncher(Protocol):
    """Turns a spec and a snapshot into an engine that answers."""

    async def start(
        self,
        spec: EngineSpec,
        snapshot: Path,
        allotment: Allotment,
        gate: Gate | None = None,
    ) -> Engine:
        """Start the process and wait until it is healthy.

        With a `gate`, do at once whatever takes no memory of the device, and the rest once it
        is open. The time in between does not count for the deadline. An engine that can't
        wait there is started when the gate is open.

        Raises `EngineStartError` after an early exit, for a wrong model, or at the deadline.
        If it raises, `CancelledError` included, none of its processes is left. If one can't
        be killed, it raises `Unkillable`.
        """
        ...


class MemoryGauge(Protocol):
    """The memory of one device that engines share: a GPU's, or the host's without a GPU."""

    @property
    def engines_only(self) -> bool:
        """What is free changes by the engines alone. On a host, any program changes it."""
        ...

    def total(self) -> int:
        """Bytes that the device has."""
        ...

    def free(self) -> int:
        """Bytes that are free now, as measured."""
        ...

    async def recovered(self, target: int) -> int:
        """Wait until `target` bytes are free, or for long enough. Returns the free bytes."""
        ...

    async def settled(self, target: int) -> int:
        """Wait until `target` bytes are free, or no more come free. Returns the free bytes."""
        ...
