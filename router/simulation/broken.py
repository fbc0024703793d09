"""What must not happen in a simulated world, by whatever way it is decided."""

from __future__ import annotations


class BrokenRule(RuntimeError):
    """What decides has broken a rule of the machine, or the simulation has a defect."""


def must(holds: bool, otherwise: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raises `BrokenRule`."""
    if not holds:
        raise BrokenRule(otherwise)
