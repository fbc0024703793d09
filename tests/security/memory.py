"""Searches the memory of a running worker from outside (`inside` does the work)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.e2e_runpod.harness import STAND_INS
from tests.eventually import eventually
from tests.worker import Worker

_INSIDE = Path(__file__).with_name("inside")

Found = Mapping[str, str]  # by role, a path to it


class Memory:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()

    def environment(self) -> dict[str, str]:
        """The environment of a worker that will be searched."""
        path = os.pathsep.join(map(str, (_INSIDE, STAND_INS)))
        return {"PYTHONPATH": path, "MEMORY_SEARCH": str(self._directory)}

    async def search(self, worker: Worker, markers: Mapping[str, str]) -> Found:
        answer = self._directory / "found.json"
        answer.unlink(missing_ok=True)
        backwards = {role: marker[::-1] for role, marker in markers.items()}
        (self._directory / "markers.json").write_text(json.dumps(backwards))
        await eventually((self._directory / "listening").exists)
        worker.send(signal.SIGUSR1)
        await eventually(answer.exists)
        found: Found = json.loads(answer.read_bytes())
        return found

    async def search_until(
        self, roles: Collection[str], worker: Worker, markers: Mapping[str, str]
    ) -> Found:
        """Search until exactly these roles are found; for at most 90 seconds."""
        end = time.monotonic() + 90
        while True:
            began = time.monotonic()
            found = await self.search(worker, markers)
            if set(found) == set(roles) or time.monotonic() > end:
                return found
            # A search stops the worker, which needs time for its own work too.
            await asyncio.sleep(time.monotonic() - began)
