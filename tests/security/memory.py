"""Searches the memory of a running worker from outside (`inside` does the work)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
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
