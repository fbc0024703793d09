"""The cost of a start of the real engine: whole, and from its gate.

python -m tests.bench.starts [ROUNDS]

Each round runs one of each, in turn. Both wait for `/ready` like the router. CPU seconds cover
all of the engine's processes. For the second, time is measured from the gate; its cost up to
the gate is shown separately.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from engines.command import Device
from engines.launcher import SglangEngine, SglangLauncher
from router.models import EngineSpec, ResolvedModel
from router.pool.interfaces import Gate
from router.scheduler.actions import Allotment
from tests import tiny_models
from tests.engines.gates import HeldGate
from tests.worker import ROOT

PYTHON = ROOT / ".venv-sglang/bin/python"
SPEC = EngineSpec(ResolvedModel("tests/apple", "0" * 40))
ALLOTMENT = Allotment(1 << 30, 1 << 30, whole=True)
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.seconds:5.1f} s, CPU {self.cpu:5.1f} s"


class Bench:
    def __init__(self, directory: Path) -> None:
        self._word = secrets.token_hex(16)
        self._snapshot = tiny_models.make(directory, "apple")
        self._launcher = SglangLauncher(
            python=str(PYTHON),
            environ=os.environ | {"SGLANG_TEST": self._word},
            hf_token=None,
            start_timeout=300.0,
            device=Device.CPU,
        )

    async def whole(self) -> Cost:
        began = time.monotonic()
        engine = await self._start()
        return await self._cost(engine, began, 0.0)

    async def from_gate(self) -> tuple[Cost, Cost, float]:
        """The cost up to the gate, the cost from there, and the bytes held at the gate."""
        gate, began = HeldGate(), time.monotonic()
        start = asyncio.create_task(self._start(gate))
        await gate.reached.wait()
        before = Cost(time.monotonic() - began, self._cpu())
        held = self._held()
        began = time.monotonic()
        gate.open.set()
        return before, await self._cost(await start, began, before.cpu), held

    async def _start(self, gate: Gate | None = None) -> SglangEngine:
        return await self._launcher.start(SPEC, self._snapshot, ALLOTMENT, gate)

    async def _cost(self, engine: SglangEngine, began: float, cpu: float) -> Cost:
        cost = Cost(time.monotonic() - began, self._cpu() - cpu)
        await engine.stop()
        return cost

    def _cpu(self) -> float:
        fields = [
            (entry / "stat").read_bytes().rpartition(b")")[2].split() for entry in self._all()
        ]
        return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS

    def _held(self) -> float:
        """Resident memory, shared pages counted once."""
        lines = [
            line.split()
            for entry in self._all()
            for line in (entry / "smaps_rollup").read_text().splitlines()
        ]
        return sum(int(line[1]) << 10 for line in lines if line[0] == "Pss:")

    def _all(self) -> list[Path]:
        """All processes, by session: some of SGLang's processes overwrite their environment."""
        entries = list(Path("/proc").glob("[0-9]*"))
        marked = {_session(entry) for entry in entries if self._has_word(entry)}
        return [entry for entry in entries if _session(entry) in marked - {None}]

    def _has_word(self, entry: Path) -> bool:
        try:
            return self._word.encode() in (entry / "environ").read_bytes()
        except OSError:
            return False


def _session(entry: Path) -> int | None:
    try:
        return os.getsid(int(entry.name))
    except ProcessLookupError:
        return None


async def main(rounds: int) -> None:
    wholes: list[Cost] = []
    others: list[tuple[Cost, Cost, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        for number in range(1, rounds + 1):
            wholes.append(await bench.whole())
            others.append(await bench.from_gate())
            before, behind, held = others[-1]
            print(
                f"{number}: whole {wholes[-1]}; to the gate {before}; from it {behind}; ",
                end="",
            )
            print(f"{held / MIB:.0f} MiB at the gate", flush=True)
    for name, costs in (
        ("whole", wholes),
        ("to the gate", [one[0] for one in others]),
        ("from the gate", [one[1] for one in others]),
    ):
        seconds = sorted(cost.seconds for cost in costs)
        middle = Cost(median(seconds), median(cost.cpu for cost in costs))
        print(f"{name}: median {middle}; {seconds[0]:.1f} to {seconds[-1]:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
