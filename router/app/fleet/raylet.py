"""Ends this process with Ray's on its node. Ray does that by itself only where orphans become
children of process 1."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

_log = logging.getLogger("router.ray")


class Raylet:
    """The process that has started this one."""

    def __init__(self) -> None:
        self._pid = os.getppid()

    def check(self) -> None:
        """Return where it lives. Engines end with this process."""
        if os.getppid() != self._pid:
            _log.critical("the raylet of this node is gone, and so is this process")
            _end()


def _end() -> NoReturn:
    os._exit(1)
