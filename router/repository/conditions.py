"""The conditions of an engine's start: the machine, and the operator's flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.models import trusts
from router.repository.flag_values import number_of, spelled

_MOST = 9999  # GPUs, or pipeline stages


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine where engines run, as far as it determines what they can serve."""

    memory: int  # bytes of one device, the smallest if there are several
    cpu: bool = False
    capability: int | None = None  # CUDA compute capability: 89 is 8.9; None: unknown
    # Whether its SGLang is the one in `router.repository.architectures`, with no models added.
    plain: bool = True
    # Packages for tokenizers that the engines' Python does not have.
    lacks: tuple[str, ...] = ()
    devices: int = 1
    budget: int | None = None  # bytes of each that engines may use; None: all


@dataclass(frozen=True, slots=True)
class Conditions:
    """The start of one model on one machine."""

    cpu: bool = False
    capability: int | None = None
    plain: bool = True
    flags: tuple[str, ...] = ()
    memory: int | None = None  # bytes of each device that the engine spans; None: unknown
    claim: int | None = None  # bytes of each that the operator grants it; None: not set
    lacks: tuple[str, ...] = ()
    devices: int = 1  # of the machine
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
        """Whether one of these flags is set, or a flag that may be an abbreviation of it."""
        return any(name.startswith(flag) for flag in spelled(self.flags) for name in names)


def gpus(flags: Sequence[str]) -> int:
    """GPUs per copy of the weights: tensor parallelism times pipeline parallelism."""
    return tensor_parallel(flags) * pipeline_parallel(flags)


def tensor_parallel(flags: Sequence[str]) -> int:
    return number_of(flags, "--tp-size", "--tensor-parallel-size", most=_MOST) or 1


def pipeline_parallel(flags: Sequence[str]) -> int:
    return number_of(flags, "--pp-size", "--pipeline-parallel-size", most=_MOST) or 1
