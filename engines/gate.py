"""The gate at which an engine waits before it takes memory of the device.

With `--gated-launch-port`, SGLang 0.5.23 imports everything, starts its processes and joins
them to each other. Then the process that will hold the weights serves `/health` and
`/gate/activate` on that port, and waits; it looks once a second whether it was told to go on
(`distributed/gated_launch.py`). The memory that is free is measured after that
(`distributed/bootstrap.py`), so an engine at its gate disturbs no other's start.

What was seen on a CPU:

* Until it goes on, it needs the small files of its model, but no weights: they may still be
  on their way.
* Its own port refuses connections as long as it waits.
* It holds about 1.2 GiB of the host's memory and next to no CPU time. (On a GPU, also what
  CUDA takes for each process that uses it.)
* To be told twice does no harm. The gate stays open and served as long as the engine lives.
* SIGINT, SIGTERM or the death of any process ends its main process within seconds. Others
  may outlive that one, and are left to the supervisor.
* Every ten seconds it logs that it is still waiting.

The gate is locked as the engine's own port is (`door.py`, `entry.py`), by a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

from engines.door import Door
from engines.readiness import Sessions, until_locked
from router.pool.interfaces import EngineStartError

_TIMEOUT = aiohttp.ClientTimeout(5.0)

# Of SGLang, every ten seconds. An engine may wait for hours.
NOISE = "Gated launch still waiting for activation"


class EngineGate:
    """The router's side of the gate of one engine."""

    def __init__(self, door: Door, sessions: Sessions) -> None:
        self._door, self._sessions = door, sessions

    @property
    def url(self) -> str:
        return self._door.url

    @property
    def signed(self) -> Mapping[str, str]:
        return self._door.signed

    async def reached(self) -> None:
        """Wait until the engine waits at the gate.

        Raises `EngineStartError` if it lets anybody through, but not for silence.
        """
        async with self._sessions() as session:
            await until_locked(session, self, "/health")

    async def open(self) -> None:
        """Let the engine go on. Raises `EngineStartError`."""
        url = f"{self.url}/gate/activate"
        try:
            async with (
                self._sessions() as session,
                session.post(url, headers=self.signed, timeout=_TIMEOUT) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineStartError(f"its gate does not answer: {error}") from error
        if status != HTTPStatus.OK:
            raise EngineStartError(f"its gate did not open: status {status}")
