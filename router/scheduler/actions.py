"""The actions that the scheduler returns and the pool performs. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from router.errors import RouterError
from router.models import EngineKey, EngineSpec

_LEAST_OF_CACHE = 0.9  # of the cache that is planned later


@dataclass(frozen=True, slots=True)
class Allotment:
    """The accelerator memory for one start, in bytes per device."""

    claim: int  # reserved for this engine
    free: int  # measured free just before the start, on the fullest of its devices
    whole: bool  # the engine has its devices to itself
    smaller: bool = False  # an earlier start ran out of memory, so this one gets less cache
    tokens: int | None = None  # of the KV cache, as planned; None: as many as fit the claim
    sleeps: bool = False  # start the engine with the memory saver, so that it can sleep
    devices: tuple[int, ...] = (0,)  # indices of its devices among the visible ones
    tensor: int | None = None  # `--tp-size`; None: the flags of its spec decide

    def suits(self, later: Allotment) -> bool:
        """Whether a process that was started with this allotment may continue with `later`.

        Its flags are fixed and contain the number of tokens. The byte counts may differ: before
        the download, they come from file sizes, and later from the tensor headers, which say
        less. A somewhat larger cache is not worth a restart; a much larger one is.
        """
        if self._fixed != later._fixed:
            return False
        if self.tokens is None or later.tokens is None:
            return self.tokens is later.tokens
        return _LEAST_OF_CACHE * later.tokens <= self.tokens <= later.tokens

    @property
    def _fixed(self) -> tuple[object, ...]:
        """The values that its flags contain, except for the tokens."""
        return self.whole, self.smaller, self.sleeps, self.devices, self.tensor


class Grant(NamedTuple):
    waiter: int
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Fail:
    waiter: int
    error: RouterError


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download a model with the credential of one waiting request."""

    spec: EngineSpec
    attempt: int
    waiter: int
    caller: str | None  # of that request


@dataclass(frozen=True, slots=True)
class CancelFetch:
    key: EngineKey
    attempt: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure and report the free memory of each device, because an engine could start."""


@dataclass(frozen=True, slots=True)
class Start:
    spec: EngineSpec
    generation: int
    snapshot: Path
    allotment: Allotment


@dataclass(frozen=True, slots=True)
class Prestart:
    """Start a process, and let it do everything that needs no device memory. Then it waits.

    `Start` with the same generation lets it continue, and `Stop` ends it. Its flags are fixed,
    so this allotment must suit that of `Start` (see `Allotment.suits`). An engine that can't
    wait does nothing until `Start` and never reports `Standing`.
    """

    spec: EngineSpec
    generation: int
    snapshot: Path
    allotment: Allotment


def _for_whom(room_for: EngineKey | None, group: str | None) -> str:
    by = f"group {group}" if group else ""
    if room_for is None:
        return by
    return f"for {room_for} ({by})" if by else f"for {room_for}"


@dataclass(frozen=True, slots=True)
class Sleep:
    """Put an idle engine to sleep: it releases device memory and keeps its weights in host
    memory.

    `room_for`: the model that waits for the memory, for the log. `group`: the group whose rule
    forbids loading the two models together.
    """

    key: EngineKey
    generation: int
    room_for: EngineKey | None = field(default=None, compare=False)
    group: str | None = field(default=None, compare=False)

    @property
    def for_whom(self) -> str:
        """Text for the log and the timeline; "" if no model waits for the memory."""
        return _for_whom(self.room_for, self.group)


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake a sleeping engine. It gets the claim back that it had."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the engine, or abort its start, and report when it is gone.

    `room_for`: the model that waits for the memory, for the log. `group`: the group whose rule
    forbids loading the two models together. Without `room_for`: the group whose rule forbids
    this engine beside those that are loaded.
    """

    key: EngineKey
    generation: int
    why: str
    at_once: bool  # without a grace period: it crashed, or its drain deadline has passed
    room_for: EngineKey | None = field(default=None, compare=False)
    group: str | None = field(default=None, compare=False)

    @property
    def for_whom(self) -> str:
        """Text for the log and the timeline; "" if no model waits for the memory."""
        return _for_whom(self.room_for, self.group)


@dataclass(frozen=True, slots=True)
class Probe:
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Alert the operator."""

    message: str
    leave: bool = False  # the machine is at fault: stop taking work


@dataclass(frozen=True, slots=True)
class Tell:
    """Write a message to the operator's log."""

    message: str


# The actions that a task of one engine carries out.
Task = CancelFetch | Prestart | Start | Sleep | Wake | Stop | Probe

Action = Grant | Fail | Fetch | Measure | Task | Alarm | Tell
