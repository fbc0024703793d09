"""What an engine would be started with: the machine, and the operator's flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.models import trusts
from router.repository.flag_values import number_of, spelled

_MOST = 9999  # GPUs, or stages


@dataclass(frozen=True, slots=True)
class Machine:
    """Where engines run, so far as it decides what they can serve."""

    memory: int  # bytes of one device; of the smallest, where there are several
    cpu: bool = False
    capability: int | None = None  # of the GPUs, as CUDA counts: 89 is 8.9; None: unknown
    # Its SGLang is the one of `router.repository.architectures`, with no models added.
    plain: bool = True
    # Packages that the engines' Python does not have, of those that tokenizers need.
    lacks: tuple[str, ...] = ()
    devices: int = 1
    budget: int | None = None  # bytes of each that engines may use; None: all


@dataclass(frozen=True, slots=True)
class Conditions:
    """One model's start on one machine."""

    cpu: bool = False
    capability: int | None = None
    plain: bool = True
    flags: tuple[str, ...] = ()
    memory: int | None = None  # bytes of each device that the engine spans; None: unknown
    claim: int | None = None  # bytes of each that the operator grants it; None: unsaid
    lacks: tuple[str, ...] = ()
    devices: int = 1  # that the machine has
    budget: int | None = None  # bytes of each that engines may use; None: unknown

    @classmethod
    def on(
        cls, machine: Machine, flags: tuple[str, ...], claim: int | None = None
    ) -> Conditions:
        return cls(
            machine.cpu,
            machine.capability,
            machine.plain,
            flags,
            machine.memory,
            claim,
            machine.lacks,
            machine.devices,
            machine.budget,
        )

    @property
    def trusted(self) -> bool:
        """Whether the model may run its own code."""
        return any(map(trusts, self.flags))

    def sets(self, *names: str) -> bool:
        """Whether the flags hold one of these, or what may be an abbreviation of it."""
        return any(name.startswith(flag) for flag in spelled(self.flags) for name in names)


def gpus(flags: Sequence[str]) -> int:
    """How many GPUs hold one copy of the weights: tensor parallel times pipeline parallel."""
    return tensor_parallel(flags) * pipeline_parallel(flags)


def tensor_parallel(flags: Sequence[str]) -> int:
    return number_of(flags, "--tp-size", "--tensor-parallel-size", most=_MOST) or 1


def pipeline_parallel(flags: Sequence[str]) -> int:
    return number_of(flags, "--pp-size", "--pipeline-parallel-size", most=_MOST) or 1
