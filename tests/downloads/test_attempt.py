"""One attempt to download, with a child process that a test plays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from router.downloads.attempt import DownloadAttempt
from router.downloads.child_process import ChildProcess
from router.downloads.places import Places
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace
from router.downloads.terms import DownloadTerms
from router.errors import HubUnavailable
from router.models import ResolvedModel
from router.pool.interfaces import FetchProgress

HOUR = 3600.0


class Child:
    """A child process that is silent for a while. The event loop's clock runs ahead then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *silences: float) -> None:
        self._silences = list(silences)
        loop = asyncio.get_running_loop()
        self._clock, self._ahead = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: self._clock() + self._ahead)

    def send(self, message: object) -> None:
        pass

    async def receive(self) -> dict[str, Any]:
        if self._silences:
            self._ahead += self._silences.pop(0)
            await asyncio.Event().wait()
        return {"event": "done"}

    async def end(self) -> frozenset[str]:
        return frozenset()


async def attempt(cache: Path, child: Child) -> bool:
    request = DownloadTerms(cache, (), None, False).request(
        ResolvedModel("org/model", "a" * 40), None, None
    )
    async with Places(1).place(lambda: {None}) as place:
        return await DownloadAttempt(
            request,
            cast("ChildProcess", child),
            Snapshots(cache),
            DiskSpace(lambda: 0),
            place,
            stall_timeout=60.0,
        ).run(_ignore)


def _ignore(_: FetchProgress) -> None:
    pass


async def test_a_frozen_worker_hears_what_its_child_says_before_it_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await attempt(tmp_path, Child(monkeypatch, HOUR))


async def test_a_child_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubUnavailable, match="came to a halt"):
        await attempt(tmp_path, Child(monkeypatch, *[1.0] * 60))
