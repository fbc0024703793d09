"""Checks at the start whether `ENGINE_PYTHON` can run SGLang, and which version it has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from engines.command import worker_part
from engines.failure import clean
from router.config.errors import SettingsError
from router.repository.tokenizer_fitness import PACKAGES

VERIFIED = "0.5.23"  # the version that the tests run
PATIENCE = 20.0  # seconds; on a cold network disk, Python alone takes several

_SCRIPT = Path(__file__).with_name("tell_version.py")
_CANNOT_RUN = (126, 127)  # exit status of a shell or the loader: not executable, not found
_MOST = 4096  # bytes at the end of its output
_NEEDED = "a Python that has SGLang"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check found: a line for the log, and facts about the interpreter."""

    text: str
    is_warning: bool
    has_saver: bool = False  # torch_memory_saver
    version: str = ""  # of SGLang; empty: unknown
    lacks: tuple[str, ...] = ()
    has_gate: bool = False  # an engine's process can be started ahead


class InterpreterCheck:
    """A check that runs in parallel with the rest of the start, until `finish`."""

    def __init__(self, python: str, process: subprocess.Popen[bytes], output: BinaryIO) -> None:
        self._python, self._process, self._output = python, process, output

    @classmethod
    def begin(cls, python: str, environ: Mapping[str, str]) -> Self:
        """Start the check. Raises `SettingsError` if `python` can't be run."""
        if shutil.which(python, path=environ.get("PATH")) is None:
            exists = os.path.sep in python and os.access(python, os.F_OK)
            why = "this file is not executable" if exists else "there is no such file"
            raise SettingsError("ENGINE_PYTHON", python, f"{_NEEDED}: {why}")
        output = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe could be held open by others
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator names it
                [python, str(_SCRIPT), *PACKAGES],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=worker_part(environ),
                start_new_session=True,
            )
        except OSError as error:
            output.close()
            why = error.strerror or "it can't be run"
            raise SettingsError("ENGINE_PYTHON", python, f"{_NEEDED}: {why}") from None
        return cls(python, process, output)

    def finish(self, patience: float = PATIENCE) -> Finding:
        """Wait at most `patience` seconds. Raises `SettingsError` if it has no SGLang.

        An unclear answer is only a warning: `ENGINE_PYTHON` may be a wrapper script that can
        start an engine but can't run this check.
        """
        with self._output:
            try:
                status = self._process.wait(patience)
            except subprocess.TimeoutExpired:
                return Finding(
                    f"ENGINE_PYTHON did not report its SGLang version within {patience:g} s",
                    is_warning=True,
                )
            finally:  # also at Ctrl-C
                self._kill()
            # The answer is the last line. Python and its packages may have warned before it.
            self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - _MOST))
            said = clean(self._output.read(_MOST).decode(errors="replace")).strip()
        return self._judge(status, said.rpartition("\n")[2])

    def _judge(self, status: int, last: str) -> Finding:
        if status in _CANNOT_RUN:
            raise SettingsError("ENGINE_PYTHON", self._python, f"{_NEEDED}: {last}")
        found: object = None
        lacks: tuple[str, ...] = ()
        with suppress(ValueError, RecursionError):
            found = json.loads(last)
            lacks = _lacks(found)
        has_saver = isinstance(found, dict) and found.get("memory_saver") is True
        has_gate = isinstance(found, dict) and found.get("gate") is True
        match found:
            case {"sglang": False}:
                raise SettingsError(
                    "ENGINE_PYTHON",
                    self._python,
                    f"{_NEEDED}, as in SGLang's own image or after `pip install sglang`; "
                    "this one has none",
                )
            case {"sglang": True, "version": str(version)} if version == VERIFIED:
                return Finding(
                    f"engines run SGLang {version}",
                    is_warning=False,
                    has_saver=has_saver,
                    version=version,
                    lacks=lacks,
                    has_gate=has_gate,
                )
            case {"sglang": True, "version": version}:
                return Finding(
                    f"engines run SGLang {version or 'of an unknown version'}; this worker was "
                    f"tested with {VERIFIED}",
                    is_warning=True,
                    has_saver=has_saver,
                    version=version if isinstance(version, str) else "",
                    lacks=lacks,
                    has_gate=has_gate,
                )
        return Finding(
            f"ENGINE_PYTHON does not report its SGLang version (status {status}): {last[:200]}",
            is_warning=True,
        )

    def _kill(self) -> None:
        """Kill the check and its children, unless it has already ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _lacks(found: object) -> tuple[str, ...]:
    named = found.get("lacks") if isinstance(found, dict) else None
    return tuple(name for name in PACKAGES if isinstance(named, list) and name in named)
