"""The router itself, on a GPU that is simulated: `python -m tests.page.simulated_gpu serve`.

NVML's functions read a folder instead of a driver: each fake engine notes there what it holds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pynvml

from router.cli import main
from tests.fake_engine.saver import taken

TOTAL = 80 << 30  # bytes
NOTES = "SIMULATED_GPU"  # the variable that names the folder


def simulate(notes: Path) -> None:
    """Put one GPU in the place of this machine's."""

    def memory(_: object) -> SimpleNamespace:
        return SimpleNamespace(total=TOTAL, free=TOTAL - taken(notes))

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetName": lambda _: "simulated GPU",
        "nvmlSystemGetDriverVersion": lambda: "0",
        "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
    }
    for name, answer in answers.items():
        setattr(pynvml, name, answer)


if __name__ == "__main__":
    simulate(Path(os.environ[NOTES]))
    sys.exit(main())
