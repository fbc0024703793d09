"""The router on a simulated GPU: `python -m tests.page.simulated_gpu serve`.

NVML's functions read a folder instead of a driver. Each fake engine writes there how much it
holds.
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
    """Replace this machine's GPUs by one simulated GPU."""

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
