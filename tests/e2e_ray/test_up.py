"""`model-router ray up` as users run it: a fleet that runs until it is stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.e2e_ray.fleet import PATIENT, ROOT, command, descendants, free_port, is_late
from tests.eventually import eventually
from tests.fake_engine import PYTHON

pytestmark = pytest.mark.long


async def test_a_fleet_comes_up_answers_and_leaves_nothing(
    harness: Harness, tmp_path: Path
) -> None:
    model, port = harness.model("org/up"), free_port()
    environ = {
        **harness.hub.environment(),
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DRAIN_TIMEOUT": "5",
        "ENGINE_PYTHON": str(PYTHON),
        "CUDA_VISIBLE_DEVICES": "",
        **PATIENT,
    }
    log_file = tmp_path / "log"
    process = await up(environ, log_file)
    try:
        async with calling(f"http://127.0.0.1:{port}") as caller:
            assert (await caller.chat(model)).text == f"I am {model}"
        place = place_of(process.pid)
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None, within=120)
        assert process.returncode == 0
        with pytest.raises(aiohttp.ClientError):
            async with calling(f"http://127.0.0.1:{port}") as caller:
                await caller.get("/ping")
    finally:
        print(log_file.read_text())
        process.kill()
        process.wait(60)
    assert not place.exists()


def place_of(pid: int) -> Path:
    """Ray's directory, inside a directory that is closed to other users."""
    commands = " ".join(word for one in descendants(pid) for word in command(one))
    found = re.search(r"/tmp/model-router-ray-\w+", commands)
    assert found, commands
    return Path(found[0])


async def up(
    environ: Mapping[str, str], log_file: Path, attempts: int = 3
) -> subprocess.Popen[bytes]:
    """Start it, and wait until it listens or has ended."""
    process = start(environ, log_file)
    try:
        await eventually(
            lambda: b"the fleet listens" in log_file.read_bytes() or process.poll() is not None,
            within=300,
        )
    except TimeoutError:
        process.kill()
        raise
    if attempts > 1 and is_late(log_file):
        return await up(environ, log_file, attempts - 1)
    return process


def start(environ: Mapping[str, str], log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "router", "ray", "up", "--gpus", "0"],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
