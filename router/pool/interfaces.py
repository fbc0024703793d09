"""The pool's interfaces to other packages. Adapters implement them, and tests fake them."""

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
    """A model's files on disk, and the memory plan of its engine."""

    path: Path
    plan: MemoryPlan | None = None  # None: the files do not determine it


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """The progress of a download, in bytes of the snapshot.

    `described`: the snapshot, once the small files (configuration, tokenizer) have their final
    names and have passed the checks. Its weights may be missing.
    """

    done: int  # on disk
    total: int
    queued: bool = False  # it waits until other downloads end
    described: Snapshot | None = None


# The callers that wait for something at the moment; None is the operator.
Callers = Callable[[], Collection[str | None]]


def the_operator() -> Collection[None]:
    """The `Callers` of work that no caller asked for."""
    return (None,)


class Downloader(Protocol):
    """Downloads a repository's files once for all callers."""

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
        """Return the verified snapshot, at once if it is already on disk.

        * `progress` is called at least once, with the size of the snapshot, before this
          returns.
        * `callers`: the callers that wait for it now. Downloads are scheduled fairly among
          callers.
        * `flags`: of the engine that it is for; they decide whether it can be served.
        * `claim`: bytes of each GPU that the operator grants that engine; None: not set.

        Raises `AccessError` if the Hub refuses the credential, and `HubUnavailable`,
        `InsufficientDisk`, `ModelTooLarge` or `UnsupportedModel` if another credential would
        not help. When canceled, it raises `CancelledError` only after its child process is dead
        and its partial files are removed.
        """
        ...


class EngineStartError(Exception):
    """An engine did not become ready.

    * `reason` is for the operator's log, and `told` for callers; "": nothing.
    * `unsupported`: another start would fail, too.
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
    """An engine could not fall asleep or wake, and is unusable. The message is for the log."""


class Unkillable(Exception):
    """A process group survived SIGKILL. The machine is at fault."""


class Engine(Protocol):
    """One running engine: the process group of one generation."""

    @property
    def url(self) -> str:
        """Base URL on loopback, without a trailing slash."""
        ...

    @property
    def port_key(self) -> Secret:
        """Must be sent with every request as `Authorization: Bearer`."""
        ...

    @property
    def served_name(self) -> str:
        """The name that the engine expects in the `model` field."""
        ...

    @property
    def context_length(self) -> int | None:
        """The maximum number of tokens of a request; None if the engine does not say."""
        ...

    @property
    def phases(self) -> Mapping[str, float]:
        """The seconds that parts of its start took, by the engine's own names for them; empty
        if it does not say."""
        ...

    @property
    def vocabulary(self) -> int | None:
        """The number of token ids, which begin at 0; None if unknown."""
        ...

    @property
    def scores_pairs(self) -> bool | None:
        """Whether a classifier takes only pairs of texts (True) or only single texts (False);
        None: it takes both."""
        ...

    async def exited(self) -> str:
        """Wait until the process has ended by itself. Returns the reason, for the log."""
        ...

    async def probe(self) -> bool:
        """Whether the engine still generates. False: it is dead or stalled.

        Do not call this for an engine that sleeps or is about to.
        """
        ...

    async def sleep(self) -> None:
        """Release the device's memory, but keep what is needed to wake.

        No request may be in flight, and none may arrive before `wake` has returned. Raises
        `SleepError` if the engine can't or takes too long. It must then be stopped.
        """
        ...

    async def wake(self) -> None:
        """Take the device's memory again. The engine answers when this returns.

        Only for a sleeping engine. Raises `SleepError`; the engine must then be stopped.
        """
        ...

    async def stop(self, *, at_once: bool = False) -> None:
        """End the whole process group: first by a signal that it can handle, unless `at_once`.

        Raises `Unkillable`. May be called again.
        """
        ...


class Gate(Protocol):
    """The point where an engine waits before it takes device memory, if it can."""

    def standing(self) -> None:
        """Note that the engine waits now. Called at most once: not every engine can wait."""
        ...

    async def opened(self) -> Allotment:
        """Wait until it may take memory. Returns its allotment."""
        ...


class EngineLauncher(Protocol):
    """Starts an engine from a spec and a snapshot."""

    async def start(
        self,
        spec: EngineSpec,
        snapshot: Path,
        allotment: Allotment,
        gate: Gate | None = None,
    ) -> Engine:
        """Start the process and wait until it is healthy.

        With a `gate`, do everything that needs no device memory at once, and the rest when the
        gate is open. The time in between does not count for the deadline. An engine that can't
        wait there is started when the gate is open.

        Raises `EngineStartError` after an early exit, for a wrong model, or at the deadline. If
        it raises, even `CancelledError`, none of its processes is left. If one can't be killed,
        it raises `Unkillable`.
        """
        ...


class MemoryGauge(Protocol):
    """The memory of one device that engines share: a GPU, or the host if there is no GPU."""

    @property
    def engines_only(self) -> bool:
        """Whether only engines change the free memory. On a host, any program can."""
        ...

    def total(self) -> int:
        """Bytes of the device."""
        ...

    def free(self) -> int:
        """Measured bytes that are free now."""
        ...

    async def recovered(self, target: int) -> int:
        """Wait until `target` bytes are free, or until a time limit. Returns the free bytes."""
        ...

    async def settled(self, target: int) -> int:
        """Wait until `target` bytes are free, or no more come free. Returns the free bytes."""
        ...
