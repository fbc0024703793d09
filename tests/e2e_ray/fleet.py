"""A fleet on several Ray nodes of this machine, for tests."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from tests.changing import below
from tests.fake_engine import PYTHON
from tests.loopback_hub import LoopbackHub

ROOT = Path(__file__).parents[2]
_PATIENCE = 300.0  # seconds, on a busy machine
# Ray gives up a start after 30 s. Where this can't be changed, `is_late` tells.
PATIENT = {"RAY_gcs_server_port_wait_time_s": "200"}


class RayFleet:
    """`with RayFleet(directory, hub, nodes=2) as fleet`: one listening ingress per node.

    Of this process's environment, its processes see only PATH.
    """

    def __init__(
        self,
        directory: Path,
        hub: LoopbackHub,
        *,
        nodes: int = 2,
        options: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory, self.nodes = directory, nodes
        self.ports = [free_port() for _ in range(nodes)]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self._options: dict[str, Any] = {
            "num_gpus": 0,
            "num_cpus": 1,
            "ingresses": nodes,
            "min_replicas": nodes,
            "max_replicas": nodes,
            **(options or {}),
        }
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "HF_HOME": str(directory / "hf"),
            "BAKED_MODELS": str(directory / "models"),
            "BASE_PATH": str(directory / "volume"),
            "PYTHONPATH": str(ROOT),
            "HOST": "127.0.0.1",
            "DRAIN_TIMEOUT": "10",
            "ENGINE_PYTHON": str(PYTHON),
            "CUDA_VISIBLE_DEVICES": "",
            "SWAP_PATIENCE": "0",
            "READ_TIMEOUT": "600",  # a test reads one answer after another
            **PATIENT,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(32).hex(),
            **hub.environment(),
            **(environ or {}),
        }
        self.place, self.address = Path(), ""
        self.raylets: Sequence[int] = ()

    @property
    def environ(self) -> Mapping[str, str]:
        return self._environ

    @property
    def log(self) -> str:
        """The output of all its processes."""
        places = self.place.glob("session_2*/logs")
        files = sorted(file for place in places for file in below(place) if file.is_file())
        texts = [f"== {one}\n{one.read_text(errors='replace')}" for one in files]
        return "\n".join([(self.directory / "program.log").read_text(), *texts])

    @property
    def printed(self) -> str:
        """The output of replicas and ingresses: the router's own log."""
        files = sorted(self.place.glob("session_2*/logs/worker-*.err"))
        return "\n".join(one.read_text(errors="replace") for one in files)

    def __enter__(self) -> Self:
        for left in (2, 1, 0):
            try:
                up = self._start()
            except BaseException:
                late = is_late(self.directory / "program.log")
                self._end()
                if not (left and late):
                    raise
            else:
                break
        self.place, self.raylets = Path(up["place"]), up["raylets"]
        self.address = up["address"]
        return self

    def _start(self) -> Any:
        self._told: Queue[Any] = Queue()
        self.directory.mkdir(parents=True, exist_ok=True)
        told = {
            "nodes": [{"PORT": str(port)} for port in self.ports],
            "options": self._options,
        }
        with (self.directory / "program.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e_ray.fleet_program", json.dumps(told)],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self._next()

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._end()
            if self.place.parent.name.startswith("ray-"):
                shutil.rmtree(self.place.parent, ignore_errors=True)

    def stop(self) -> None:
        """Shut it down. Its files stay until the block ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)

    def ask(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def status(self) -> dict[str, dict[str, int]]:
        """The replicas of each deployment, counted by state."""
        self.ask("status")
        found: dict[str, dict[str, int]] = self._next()
        return found

    async def run_python(self, script: str, environ: Mapping[str, str]) -> bool:
        """Run a script in a process with only this environment. Returns whether it succeeds."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script), env=dict(environ), stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                return await process.wait() == 0
        except TimeoutError:
            process.kill()
            await process.wait()
            return False

    def replicas(self) -> list[psutil.Process]:
        return self._actors("engines")

    def ingresses(self) -> list[psutil.Process]:
        return self._actors("ingress")

    def processes(self) -> list[psutil.Process]:
        """All processes of the fleet, including detached ones."""
        mark = str(self.directory)
        return [one for one in psutil.process_iter() if mark in _environment(one)]

    def ingress_at(self, node: int) -> psutil.Process:
        port = self.ports[node]
        listening = {one.pid for one in psutil.net_connections("tcp") if _is_at(one, port)}
        return next(one for one in self.ingresses() if one.pid in listening)

    def _actors(self, deployment: str) -> list[psutil.Process]:
        # A replica hides its environment, but its parent is the raylet.
        return [
            child
            for raylet in self.raylets
            for child in descendants(raylet)
            if f"ServeReplica:fleet:{deployment}" in " ".join(command(child))
        ]

    def _next(self) -> Any:
        try:
            told = self._told.get(timeout=_PATIENCE)
        except Empty:
            told = None
        if told is None:
            raise RuntimeError(f"the fleet says nothing:\n{self.log}")
        return told

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                if line.startswith("told "):
                    self._told.put(json.loads(line.removeprefix("told ")))
        self._told.put(None)  # end of output

    def _end(self) -> None:
        """End all its processes and remove its files, whatever a test did."""
        self._process.kill()
        self._process.wait(60)
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        while left := self.processes():  # one that is killed may have started another
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGKILL)
        self._reader.join(60)


def _is_at(connection: Any, port: int) -> bool:
    here = connection.laddr and connection.laddr.port == port
    return bool(here and connection.status == psutil.CONN_LISTEN)


def is_late(log: Path) -> bool:
    """Whether a node failed to start within Ray's limit of 30 s, because the machine was
    busy."""
    return "The current node timed out during startup" in log.read_text()


def free_port() -> int:
    """A port outside the range from which the kernel, and so Ray, takes ports."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def descendants(pid: int) -> list[psutil.Process]:
    """None if it has ended."""
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def _environment(process: psutil.Process) -> str:
    try:
        return "\n".join(f"{k}={v}" for k, v in process.environ().items())
    except psutil.Error:
        return ""


def command(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words
