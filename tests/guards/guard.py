"""One guard, as the tables beside this file list them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.guards.mutations import Mutation
from tests.guards.places import Place


@dataclass(frozen=True, slots=True)
class Guard:
    promise: str  # in the words of the threat model, short
    place: str  # "module:function" that keeps it
    mutation: Mutation  # what takes the guard away
    test: str  # pytest's name of a test that passes with the guard and fails without

    @property
    def file(self) -> str:
        """From the root of the repository."""
        return Place.of(self.place).file

    def mutant(self, root: Path) -> str:
        """The module without the guard. Raises `MutationFailed`."""
        return Place.of(self.place).mutant(root, self.mutation)
