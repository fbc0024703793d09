"""Ends this process when the raylet of its node has died. Ray does that itself only if orphans
become children of process 1."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

_log = logging.getLogger("router.ray")


class Raylet:
    """The process that started this one."""

    def __init__(self) -> None:
        self._pid = os.getppid()

    def check(self) -> None:
        """End this process if the raylet is dead. Its engines end with it."""
        if os.getppid() != self._pid:
            _log.critical("this node's raylet is gone, so this process ends")
            _end()


def _end() -> NoReturn:
    os._exit(1)
