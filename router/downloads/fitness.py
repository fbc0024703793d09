"""Judges whether an engine can serve a snapshot on the disk, and how much memory it needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from router.errors import HubUnavailable, UnsupportedModel
from router.models import MemoryPlan
from router.repository.check_snapshot import judge, judge_operators
from router.repository.conditions import Conditions, Machine
from router.side_process import Aside, SideProcessDied


class SnapshotFitness:
    """`aside` is the side process that checks configurations; without it, a thread does.
    `machine` is what engines run on; None: unknown, so any model fits."""

    def __init__(self, aside: Aside | None, machine: Machine | None) -> None:
        self._aside, self._machine = aside, machine

    def conditions(self, flags: tuple[str, ...], claim: int | None) -> Conditions | None:
        """The conditions for an engine with these flags and `claim` bytes of each GPU; None if
        the machine is unknown."""
        return Conditions.on(self._machine, flags, claim) if self._machine else None

    async def plan(
        self, snapshot: Path, conditions: Conditions | None, *, operators: bool = False
    ) -> MemoryPlan | None:
        """The memory that an engine needs. `operators`: this is an operator's own directory.

        Raises `FitError` if no engine could serve it here.
        """
        check = judge_operators if operators else judge
        if self._aside is None:
            return (await asyncio.to_thread(check, b"", snapshot, conditions))[0]
        try:
            return (await self._aside.run(check, snapshot, conditions))[0]
        except TimeoutError:
            raise UnsupportedModel(
                "The model's configuration takes too long to read."
            ) from None
        except SideProcessDied:
            raise HubUnavailable(
                "The check of the model's files broke off: try again."
            ) from None


def check_exists(directory: Path) -> None:
    """Check the operator's directory. Raises `UnsupportedModel` if it has no config.json."""
    if not (directory / "config.json").is_file():
        raise UnsupportedModel(
            "The operator's directory for this model does not exist, or has no config.json. "
            "Ask the operator."
        )
