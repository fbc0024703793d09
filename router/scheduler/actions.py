"""What the pool is to do. Plain values that the scheduler returns and the pool performs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from router.errors import RouterError
from router.models import EngineKey, EngineSpec

_LEAST_OF_CACHE = 0.9  # of what is planned later


@dataclass(frozen=True, slots=True)
class Allotment:
    """The accelerator memory that one start may count on, in bytes of each of its devices."""

    claim: int  # set aside for this engine
    free: int  # measured free just before the start, where the least is
    whole: bool  # the engine has its devices to itself
    smaller: bool = False  # an earlier start ran out of memory
    tokens: int | None = None  # of the KV cache, as planned; None: what fits the claim
    sleeps: bool = False  # the engine is to be one that can fall asleep
    devices: tuple[int, ...] = (0,)  # that it spans, as the machine counts those it shows
    tensor: int | None = None  # `--tp-size`; None: as the flags of its spec say

    def suits(self, later: Allotment) -> bool:
        """Whether a process that was started with this may go on with what `later` grants.

        Its flags are fixed. They hold the tokens, so the bytes may differ: the weights' own
        headers tell less than the sizes of their files, which are known before. A cache
        that would be larger by then is not worth another start, unless by much.
        """
        if self._fixed != later._fixed:
            return False
        if self.tokens is None or later.tokens is None:
            return self.tokens is later.tokens
        return _LEAST_OF_CACHE * later.tokens <= self.tokens <= later.tokens

    @property
    def _fixed(self) -> tuple[object, ...]:
        """What its flags say, beside the tokens."""
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
    """Measure the free memory of each device and report it: an engine could start."""


@dataclass(frozen=True, slots=True)
class Start:
    spec: EngineSpec
    generation: int
    snapshot: Path
    allotment: Allotment


@dataclass(frozen=True, slots=True)
class Prestart:
    """Start a process that does all that takes no memory of the device, and then waits.

    `Start` with the same generation lets it go on; `Stop` ends it. Its flags are fixed: this
    allotment `suits` the one of `Start`, which has as many tokens. An engine that can't wait
    does nothing until `Start`, and never reports `Standing`.
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
    """Let an idle engine give its memory back, and keep its weights in the host's.

    `room_for`: the model that waits for its room, for the log. `group`: whose rule it is that
    the two are not loaded together.
    """

    key: EngineKey
    generation: int
    room_for: EngineKey | None = field(default=None, compare=False)
    group: str | None = field(default=None, compare=False)

    @property
    def for_whom(self) -> str:
        """For the log and the timeline; "": for nobody."""
        return _for_whom(self.room_for, self.group)


@dataclass(frozen=True, slots=True)
class Wake:
    """Let an engine that sleeps take its memory again. It has the claim that it had."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the engine, or its start, and report when it is gone.

    `room_for`: the model that waits for its room, for the log. `group`: whose rule it is that
    the two are not loaded together; without `room_for`, that it may not stay beside others.
    """

    key: EngineKey
    generation: int
    why: str
    at_once: bool  # without grace: it crashed, or its drain deadline is over
    room_for: EngineKey | None = field(default=None, compare=False)
    group: str | None = field(default=None, compare=False)

    @property
    def for_whom(self) -> str:
        """For the log and the timeline; "": for nobody."""
        return _for_whom(self.room_for, self.group)


@dataclass(frozen=True, slots=True)
class Probe:
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Tell the operator, loudly."""

    message: str
    leave: bool = False  # the machine is at fault: take no more work


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the operator, in the log."""

    message: str


# What a task carries out for one engine.
Task = CancelFetch | Prestart | Start | Sleep | Wake | Stop | Probe

Action = Grant | Fail | Fetch | Measure | Task | Alarm | Tell
