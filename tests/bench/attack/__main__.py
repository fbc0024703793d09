"""`python -m tests.bench.attack [SECONDS [ATTACK...]]`: attacks next to a well-behaved caller.

The caller first runs alone for a tenth of the time. Then two callers attack: one with its own
API key, one without any. Prints the caller's latencies in both phases, the answers to the
attackers, and the worker's memory, processes and open files before and after.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.attack.target import SHARED, Target, stock, worker
from tests.bench.attack.witness import Experience, use
from tests.bench.ways import ask
from tests.e2e.processes import open_files, resident
from tests.loopback_hub import LoopbackHub
from tests.worker import ROOT, Worker

_SETTLE = 180.0  # seconds until everything must be as before


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    good, evil = secrets.token_hex(16), secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as directory, LoopbackHub() as hub:
        token = stock(hub)
        with worker(hub, Path(directory) / "worker", (good, evil)) as attacked:
            ask(attacked.url, SHARED, {"Authorization": f"Bearer {good}"})
            target = Path(directory) / "target"
            Target(attacked.url, evil, token).save(target)
            _run(attacked, good, target, seconds)


def _run(attacked: Worker, key: str, target: Path, seconds: float) -> None:
    alone = asyncio.run(use(attacked.url, key, seconds / 10))
    before = _footprint(attacked)
    attackers = [str(target), str(seconds), *sys.argv[2:]]
    command = [sys.executable, "-m", "tests.bench.attack.attacks", *attackers]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as attacking:
        assert attacking.stdout is not None
        try:
            attacked_use = asyncio.run(use(attacked.url, key, seconds))
        except BaseException:
            attacking.kill()
            raise
        told = json.loads(attacking.stdout.read())
    _show(alone, attacked_use)
    for name, heard in told.items():
        print(f"{name:28}", ", ".join(f"{what}: {n}" for what, n in sorted(heard.items())))
    print("before", before)
    print("after ", _settled(attacked, before))


def _settled(attacked: Worker, before: dict[str, float]) -> dict[str, float]:
    """The footprint when processes and files are as before, or after some minutes."""
    until = time.monotonic() + _SETTLE
    while (now := _footprint(attacked)) and time.monotonic() < until:
        if all(now[name] <= before[name] for name in ("processes", "files")):
            break
        time.sleep(1)
    return now


def _footprint(attacked: Worker) -> dict[str, float]:
    return {
        "resident MB": round(resident(attacked.pid) / 1e6, 1),
        "processes": len(attacked.processes()),
        "files": open_files(attacked.pid),
    }


def _show(alone: Experience, attacked: Experience) -> None:
    quantiles = f"{'p50':>9}{'p99':>9}{'max':>9}"
    print(f"{'':15}{'alone, ms':>27}{'attacked, ms':>27}\n{'':15}{quantiles * 2}")
    for name in ("whole", "streamed", "ping"):
        row = f"{name:15}"
        for felt in (getattr(alone, name), getattr(attacked, name)):
            for share in (0.5, 0.99, 1.0):
                row += f"{felt.quantile(share) * 1000:>9.1f}"
        print(row)
        for felt in (getattr(alone, name), getattr(attacked, name)):
            print(f"  {len(felt.latencies)} answers, failures: {dict(felt.failures)}")


if __name__ == "__main__":
    main()
