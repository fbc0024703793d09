"""The router's handle on one download process (`router.downloads.child`)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

_log = logging.getLogger(__name__)

# The child gets only these variables: the rest of the environment may hold secrets.
_PASSED_ON = (
    "PATH",
    "LANG",
    "LD_LIBRARY_PATH",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_DISABLE_XET",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_XET_CACHE",
    "HF_XET_HIGH_PERFORMANCE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)


def child_environment(cache: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The child's environment, without any token that `huggingface_hub` could find."""
    return {
        "HF_HOME": str(cache.parent),
        **{name: environment[name] for name in _PASSED_ON if environment.get(name)},
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # The blob store that repositories share would give a gated file to anybody.
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN_PATH": "/nonexistent/hf-token",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


class ChildProcess:
    """One running child, its pipes, and the partial files that it announced."""

    def __init__(self, process: Process, stderr: BinaryIO) -> None:
        self._process = process
        self._stdin = cast("asyncio.StreamWriter", process.stdin)  # both are pipes
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        self._stderr = stderr
        self._partials: set[str] = set()

    @classmethod
    async def start(cls, cache: Path, environment: Mapping[str, str]) -> Self:
        """Start a child; `environment` is the router's. Raises `OSError`."""
        # A file, because a pipe that nobody reads would fill up and block the child.
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "router.downloads.child",
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                env=child_environment(cache, environment),
                start_new_session=True,
            )
        except BaseException:
            stderr.close()
            raise
        return cls(process, stderr)

    def send(self, message: object) -> None:
        """Write one line of JSON. If the child is gone, `receive` will say so."""
        self._stdin.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next event, or None when the child has closed its end."""
        while line := await self._stdout.readline():
            if not line.endswith(b"\n"):
                break  # the child was killed in the middle of a line
            event: dict[str, Any] = json.loads(line)
            if event["event"] != "partial":
                return event
            self._partials.add(event["name"])
        return None

    async def end(self) -> frozenset[str]:
        """Kill the process group, wait for it, and return the names of its partial files."""
        with suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        while await self.receive() is not None:  # the pipe may still name partial files
            pass
        await self._process.wait()
        self._stdin.close()
        with self._stderr as stderr:
            self._log_crash(stderr)
        return frozenset(self._partials)

    def _log_crash(self, stderr: BinaryIO) -> None:
        """Log the last line of a traceback, without URLs, because they may be signed."""
        if self._process.returncode in (0, -signal.SIGKILL):
            return
        stderr.seek(0)
        last = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        _log.error(
            "The download process ended with %s: %s",
            self._process.returncode,
            re.sub(r"https?://\S+", "<address>", last)[:500],
        )
