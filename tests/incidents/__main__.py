"""Play all incidents, and print what an operator sees: `python -m tests.incidents`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.e2e.harness import Harness
from tests.incidents.every import INCIDENTS
from tests.loopback_hub import LoopbackHub


def main() -> None:
    for incident in INCIDENTS:
        with LoopbackHub() as hub, tempfile.TemporaryDirectory() as folder:
            transcript = asyncio.run(incident.play(Harness(hub, Path(folder))))
        print(f"### {incident.TITLE}\n")
        print("\n\n".join(transcript), end="\n\n")


if __name__ == "__main__":
    main()
