"""The gate at which an engine waits before it takes memory of the device.

With `--gated-launch-port`, SGLang 0.5.23 imports everything, starts its processes and connects
them. Then the process that will hold the weights serves `/health` and `/gate/activate` on that
port and waits; it checks once a second whether the gate was opened
(`distributed/gated_launch.py`). SGLang measures the free memory after that
(`distributed/bootstrap.py`), so a waiting engine does not disturb the start of another.

Observed on a CPU:

* A waiting engine needs the small files of its model, but no weights: they may still be
  downloading.
* Its own port refuses connections while it waits.
* It holds about 1.2 GiB of the host's memory and uses next to no CPU time. (On a GPU, it also
  holds a CUDA context for each process that uses the GPU.)
* It is safe to open the gate twice. The gate answers as long as the engine lives.
* SIGINT, SIGTERM or the death of any of its processes ends its main process within seconds.
  Other processes may outlive the main process; the supervisor kills them.
* It logs every ten seconds that it is still waiting.

The gate has a lock like the engine's own port (`engine_port.py`, `entry.py`), with its own key.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

from engines.engine_port import EnginePort
from engines.readiness import Sessions, until_locked
from router.pool.interfaces import EngineStartError

_TIMEOUT = aiohttp.ClientTimeout(60.0)  # it sets a flag; but a busy machine may stand still

# SGLang logs this every ten seconds, and an engine may wait for hours.
NOISE = "Gated launch still waiting for activation"


class EngineGate:
    """The router's side of the gate of one engine."""

    def __init__(self, port: EnginePort, sessions: Sessions) -> None:
        self._port, self._sessions = port, sessions

    @property
    def url(self) -> str:
        return self._port.url

    @property
    def signed(self) -> Mapping[str, str]:
        return self._port.signed

    async def reached(self) -> None:
        """Wait, with no time limit, until the engine waits at the gate.

        Raises `EngineStartError` if the gate answers a request without the key.
        """
        async with self._sessions() as session:
            await until_locked(session, self, "/health")

    async def open(self) -> None:
        """Open the gate, so that the engine loads. Raises `EngineStartError`."""
        url = f"{self.url}/gate/activate"
        try:
            async with (
                self._sessions() as session,
                session.post(
                    url, headers=self.signed, timeout=_TIMEOUT, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineStartError(f"its gate does not answer: {error}") from error
        if status != HTTPStatus.OK:
            raise EngineStartError(f"its gate did not open: status {status}")
