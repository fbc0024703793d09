"""`make gpu`: measures starts and sleep on the first GPU, with the real SGLang."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from engines.command import Device
from engines.launcher import SglangLauncher
from engines.memory import HostGauge, NvmlGauge, find_gpus
from tests.gpu.measure import Figures, Measurement, table
from tests.gpu.models import GIB, make

_START_TIMEOUT = 1200.0  # seconds: the first start may compile kernels


def main() -> int:
    parser = argparse.ArgumentParser("tests.gpu", description=__doc__)
    parser.add_argument("--sizes", default="1,8,16", help="GiB of weights, comma-separated")
    parser.add_argument("--python", default="python3", help="the interpreter that has SGLang")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--verbose", action="store_true", help="show what the engines print")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR)
    gpus = find_gpus(os.environ, 1)
    if not gpus:
        print("there is no NVIDIA GPU", file=sys.stderr)
        return 2
    sizes = [float(size) for size in args.sizes.split(",")]
    found = asyncio.run(measure(NvmlGauge(gpus), args.python, sizes))
    print(table(found))
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return 0 if all(one.same_answers for one in found) else 1


async def measure(gpu: NvmlGauge, python: str, sizes: list[float]) -> list[Figures]:
    launcher = SglangLauncher(
        python=python,
        environ=os.environ,
        hf_token=None,
        start_timeout=_START_TIMEOUT,
        device=Device.CUDA,
    )
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory:
            model = make(Path(directory), "model", int(size * GIB))
            found.append(await Measurement(launcher, gpu, HostGauge(), model).take())
    return found


if __name__ == "__main__":
    sys.exit(main())
