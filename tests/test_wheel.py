"""The installed package serves: a wheel in a new environment, away from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import router
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.image.client import chat
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import ROOT, Worker

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the commands of an environment where the wheel is installed.

    It uses this environment's dependencies, so that nothing is downloaded.
    """
    wheels = tmp_path_factory.mktemp("wheels")
    environment = tmp_path_factory.mktemp("environment")
    run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=ROOT
    )
    venv.create(environment)
    binaries = environment / "bin"
    (wheel,) = wheels.iterdir()
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python")]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], cwd=environment)
    (packages,) = environment.glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return binaries


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Run a command and return its output. Raises `CalledProcessError`."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=90, check=True
    )
    return done.stdout


class InstalledWorker(Worker):
    """The worker, started by the console script in a directory without a checkout."""

    def __init__(self, command: Path, directory: Path, environ: Mapping[str, str]) -> None:
        super().__init__(directory, environ)
        self.program, self.cwd = [str(command)], directory


def test_the_packages_are_the_installed_ones_and_are_typed(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import json, engines, router; print(json.dumps([engines.__path__, router.__path__]))"
    )
    printed = run([installed / "python", "-c", code], cwd=tmp_path)
    for (path,) in json.loads(printed):
        assert Path(path).is_relative_to(installed.parent)
        assert (Path(path) / "py.typed").exists()


def test_it_holds_what_sglang_needs_on_a_cpu(installed: Path) -> None:
    (cpu,) = installed.parent.glob("lib/*/site-packages/engines/cpu")
    assert {"requirements.txt", "sitecustomize.py"} <= {path.name for path in cpu.iterdir()}


def test_it_holds_what_sglang_makes_of_each_architecture(
    installed: Path, tmp_path: Path
) -> None:
    code = "from router.repository.architectures import lookup; print(lookup('BertModel').task)"
    assert run([installed / "python", "-c", code], cwd=tmp_path) == "embed\n"


def test_it_holds_the_operators_page(installed: Path) -> None:
    (page,) = installed.parent.glob("lib/*/site-packages/router/admin/page")
    files = {path.name: path.read_bytes() for path in page.iterdir()}
    assert files == {
        path.name: path.read_bytes() for path in (ROOT / "router/admin/page").iterdir()
    }


@pytest.mark.parametrize("start", [["model-router"], ["python", "-m", "router"]])
def test_it_says_its_version(start: list[str], installed: Path, tmp_path: Path) -> None:
    command = [str(installed / start[0]), *start[1:], "--version"]
    assert run(command, cwd=tmp_path).split()[-1] == router.__version__


def test_it_says_that_the_demo_needs_a_checkout(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run([installed / "model-router", "demo"], cwd=tmp_path)
    assert failed.value.returncode == 2
    assert "needs a checkout" in failed.value.stderr


def test_the_console_script_serves(installed: Path, tmp_path: Path) -> None:
    with LoopbackHub() as hub:
        hub.add_repo(
            "maker/model",
            {
                **servable(),
                "model.safetensors": b"weights" * 1000,
                FILE: behaviour(answer="I am installed."),
            },
        )
        environ = {**hub.environment(), "ENGINE_PYTHON": str(PYTHON)}
        with InstalledWorker(installed / "model-router", tmp_path, environ) as worker:
            assert chat(worker.url, "maker/model") == "I am installed."
            assert worker.stop() == 0
