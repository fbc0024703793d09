"""Run the tests while random processes of theirs stand still, to find those that rely on speed.

python -m tests.paused [--seed 1] [--longest 3] [--every 1] [pytest's arguments ...]

On a busy machine, any process can stand still at any moment. Here, one process at a time is
stopped with SIGSTOP: a test, a worker, a download, an engine. A test that fails only here will
fail in CI some day.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

# A process that a test has stopped is left alone: it must not be continued here.
_NOT_RUNNING = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_TRACING_STOP}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.paused",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # pytest's arguments are not taken for these
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=3.0, help="seconds of a pause")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between pauses")
    options, arguments = parser.parse_known_args()
    # With xdist, the tests run in a child of the process that this one starts.
    command = [sys.executable, "-m", "pytest", "-n", "1", "--dist", "loadfile", *arguments]
    tests = subprocess.Popen(command)
    with suppress(KeyboardInterrupt):  # pytest got it, too, and ends its processes
        _pause(tests, random.Random(options.seed), options.longest, options.every)
    return tests.wait()


def _pause(
    tests: subprocess.Popen[bytes], source: random.Random, longest: float, every: float
) -> None:
    """Stop one descendant after another, until the tests have ended."""
    while tests.poll() is None:
        time.sleep(source.uniform(0.0, 2 * every))
        with suppress(psutil.NoSuchProcess):
            descendants = psutil.Process(tests.pid).children(recursive=True)
            if descendants:
                _stop_for(source.choice(descendants), source.uniform(0.0, longest))


def _stop_for(process: psutil.Process, seconds: float) -> None:
    if process.status() in _NOT_RUNNING:
        return
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
