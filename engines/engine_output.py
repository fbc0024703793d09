"""What one engine prints, and where it goes: the log, its model's last lines, and what explains
its death."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engines.failure import FailureReason, clean
from engines.gate import NOISE


class EngineOutput:
    """Takes the lines of one engine. `keep` is called with the model and each line, too."""

    def __init__(
        self,
        model: str,
        served_name: str,
        log: logging.Logger,
        keep: Callable[[str, str], None] | None,
    ) -> None:
        self.failure = FailureReason()
        self.ends = False  # it was told to: what it says of that is of little interest
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
