"""Sends each line that an engine prints to the log and to `FailureReason`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engines.failure import FailureReason, clean
from engines.gate import NOISE


class EngineOutput:
    """Handles the lines of one engine. `keep`, if given, gets the model and each line, too."""

    def __init__(
        self,
        model: str,
        served_name: str,
        log: logging.Logger,
        keep: Callable[[str, str], None] | None,
    ) -> None:
        self.failure = FailureReason()
        self.ends = False  # it is being stopped: its last lines go to the debug log
        self._model, self._name = model, served_name
        self._log, self._keep = log, keep

    def __call__(self, line: str) -> None:
        if NOISE in line:
            return
        self.failure.add(line)
        text = clean(line)
        level = logging.DEBUG if self.ends else logging.INFO
        self._log.log(level, "engine[%s] %s", self._name, text)
        if self._keep is not None:
            self._keep(self._model, text)
