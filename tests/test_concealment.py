from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.worker import ROOT

pytestmark = pytest.mark.process

# Root could read everything, so this makes it like any other user.
ROOT_ALONE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
POWERLESS = ROOT_ALONE if os.geteuid() == 0 else ()

# Hides, reports its own environment, and waits.
HIDDEN = """
import json, os, subprocess, sys
before = os.getpid()
from router.concealment import hide_environment
hide_environment()
links = [f"/proc/self/fd/{number}" for number in range(32)]
print(json.dumps({
    "argv": sys.argv,
    "pid": before,
    "environ": dict(os.environ),
    "inherited": subprocess.run(["env"], capture_output=True).stdout.decode(errors="replace"),
    "files": [os.readlink(link) for link in links if os.path.islink(link)],
}), flush=True)
sys.stdin.read()
"""


def start(**environ: str) -> tuple[subprocess.Popen[str], Any]:
    process = subprocess.Popen(
        [*POWERLESS, sys.executable, "-c", HIDDEN, "serve", "--flag"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_what_was_in_the_environment_is_there_but_does_not_show() -> None:
    given = {
        "HF_TOKEN": secrets.token_hex(),
        "API_KEYS": secrets.token_hex(),
        "ALICES": secrets.token_hex(),
        "MODELS_CONFIG": json.dumps({"long": "x" * 100_000}),
        "UMLAUT": "\u00e4 \udcff\n=",
        "EMPTY": "",
        "SLASHED": f"/{secrets.token_hex()}",
        "LONG": f"/{'x' * 5000}",
    }
    process, found = start(**given)
    with process:
        shown = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"PATH=" in shown
        for name, value in given.items():
            assert found["environ"][name] == value
            assert name.encode() not in shown
        assert given["HF_TOKEN"] in found["inherited"]  # a child gets everything by default
        assert (found["pid"], found["argv"]) == (process.pid, ["-c", "serve", "--flag"])
        assert "MODEL_ROUTER_ENVIRONMENT" not in found["environ"]
        assert not any("memfd" in file for file in found["files"])
        process.kill()


@pytest.mark.parametrize("file", ["environ", "mem", "maps", "fd/0", "cwd/."])
def test_no_process_of_the_same_user_reads_its_memory_or_files(file: str) -> None:
    process, _ = start()
    with process:
        read = subprocess.run(
            [
                *(*POWERLESS, sys.executable, "-c"),
                "import os, sys; os.open(sys.argv[1], os.O_RDONLY)",
                f"/proc/{process.pid}/{file}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        process.kill()
    assert "PermissionError" in read.stderr
