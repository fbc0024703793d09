"""What an engine would be started with: the machine, and the operator's flags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from router.models import trusts

# As argparse tells them from SGLang's other flags, however they are abbreviated.
_TENSOR_PARALLEL = ("--tp", "--te")  # --tp-size, --tensor-parallel-size
_PIPELINE_PARALLEL = ("--pp-s", "--pi")  # --pp-size, --pipeline-parallel-size
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where engines run, so far as it decides what they can serve."""

    memory: int  # bytes of one device
    cpu: bool = False
    capability: int | None = None  # of the GPUs, as CUDA counts: 89 is 8.9; None: unknown
    # Its SGLang is the one of `router.repository.architectures`, with no models added.
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Conditions:
    """One model's start on one machine."""

    cpu: bool = False
    capability: int | None = None
    plain: bool = True
    flags: tuple[str, ...] = ()

    @classmethod
    def on(cls, machine: Machine, flags: tuple[str, ...]) -> Conditions:
        return cls(machine.cpu, machine.capability, machine.plain, flags)

    @property
    def trusted(self) -> bool:
        """Whether the model may run its own code."""
        return any(map(trusts, self.flags))

    def sets(self, *names: str) -> bool:
        """Whether the flags hold one of these, or what may be an abbreviation of it."""
        return any(name.startswith(flag) for flag in _given(self.flags) for name in names)


def gpus(flags: Sequence[str]) -> int:
    """How many GPUs hold one copy of the weights: tensor parallel times pipeline parallel."""
    tensor = pipeline = 1
    for flag, value in pairwise((*flags, "")):
        name, equals, inline = flag.partition("=")
        name = name.replace("_", "-")
        number = inline if equals else value
        if not _NUMBER.fullmatch(number):
            continue
        if name.startswith(_TENSOR_PARALLEL):
            tensor = int(number)
        elif name.startswith(_PIPELINE_PARALLEL):
            pipeline = int(number)
    return tensor * pipeline


def _given(flags: Sequence[str]) -> list[str]:
    names = (flag.partition("=")[0].replace("_", "-") for flag in flags)
    return [name for name in names if name.startswith("--") and len(name) > 2]
