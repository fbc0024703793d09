"""A replica or an ingress that can't start raises no other error while it exits. Needs no
Ray."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.e2e_ray.fleet import ROOT

# Needs its own process: Python calls `__del__` again, and nobody awaits the result.
PROGRAM = """
import asyncio, os
from router.app.fleet.ingress import Ingress
from router.app.fleet.replica import EngineReplica
from router.config.errors import SettingsError

async def main():
    for kind, arguments in ((EngineReplica, ()), (Ingress, (None,))):
        one = kind.__new__(kind)
        try:
            await one.__init__(*arguments)
        except SettingsError:
            await one.__del__()
            print("left", flush=True)
    os._exit(0)

asyncio.run(main())
"""


def test_what_can_not_start_has_nothing_to_end() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "none"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["left", "left"]), ended.stderr
