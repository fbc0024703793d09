"""The real `huggingface_hub` in its own process, because it reads its settings at import.

Run as a script, this is that process: one call per line on stdin, one outcome per line on
stdout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

PATIENCE = 90.0  # seconds for one call


@dataclasses.dataclass(frozen=True)
class Failure:
    """An exception from a call: its class, and the status of the answer behind it, if any."""

    kind: str
    status: int | None
    message: str = dataclasses.field(default="", compare=False)


class Client:
    """Calls methods of `HfApi`. It has no token of its own."""

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={"HOME": str(home), "HF_HOME": str(home), **quiet, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=PATIENCE)

    def call(self, method: str, *args: object, **kwargs: object) -> Any:
        """Call a method and return its result as JSON."""
        outcome = self._ask(method, args, kwargs)
        assert "failure" not in outcome, outcome
        return outcome["result"]

    def failure(self, method: str, *args: object, **kwargs: object) -> Failure:
        """Call a method and return its exception."""
        outcome = self._ask(method, args, kwargs)
        assert "result" not in outcome, outcome
        return Failure(**outcome["failure"])

    def _ask(
        self, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        end = threading.Timer(PATIENCE, self._process.kill)
        end.start()
        try:
            question = json.dumps([method, args, {"token": False} | kwargs], default=str)
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            outcome: dict[str, Any] = json.loads(self._process.stdout.readline())
        finally:
            end.cancel()
        return outcome


def main() -> None:
    from huggingface_hub import HfApi  # noqa: PLC0415  (the tests' own process does not need it)

    api = HfApi()
    for line in sys.stdin:
        method, args, kwargs = json.loads(line)
        outcome: dict[str, object]
        try:
            result = getattr(api, method)(*args, **kwargs)
            outcome = {"result": list(result) if hasattr(result, "__next__") else result}
        except Exception as error:  # noqa: BLE001  (whatever it is, the test is told)
            answer = getattr(error, "response", None)
            outcome = {
                "failure": {
                    "kind": type(error).__name__,
                    "status": getattr(answer, "status_code", None),
                    "message": str(error),
                }
            }
        print(json.dumps(outcome, default=_plain), flush=True)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


if __name__ == "__main__":
    main()
