"""`wrk`, a load generator in C (Debian: `apt-get install wrk`), as a function."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """\
wrk.method, wrk.body = "POST", {body}
wrk.headers = {{ ["Content-Type"] = "application/json"{headers} }}
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    "RESULT %d %d %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. Times in seconds."""

    requests: int
    elapsed: float
    median: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.elapsed


def find() -> str | None:
    return shutil.which("wrk")


def script(directory: Path, body: bytes, headers: Mapping[str, str]) -> Path:
    """Write the script that `load` sends."""
    further = "".join(f", [{json.dumps(n)}] = {json.dumps(v)}" for n, v in headers.items())
    file = directory / "request.lua"
    file.write_text(_SCRIPT.format(body=json.dumps(body.decode()), headers=further))
    return file


async def load(url: str, file: Path, callers: int, seconds: int) -> Sample:
    """Keep `callers` connections busy for `seconds`."""
    words = ["-t1", f"-c{callers}", f"-d{seconds}", "--timeout", "60", "-s", str(file), url]
    process = await asyncio.create_subprocess_exec(
        find() or "wrk", *words, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    requests, duration, median, p99, errors = output.decode().split("RESULT ")[1].split()
    if int(errors):
        raise RuntimeError(f"{errors} requests of {requests} to {url} failed")
    return Sample(int(requests), int(duration) / 1e6, float(median) / 1e6, float(p99) / 1e6)
