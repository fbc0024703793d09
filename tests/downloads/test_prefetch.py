"""`python -m router prefetch`, as the build of an image runs it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.models import ResolvedModel
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
FILES = {"config.json": b"{}", "model.safetensors": b"x" * 1000, "README.md": b"hello"}


@dataclass
class Build:
    hub: LoopbackHub
    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    def prefetch(
        self, name: str, *options: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "router", "prefetch", name, "--into", self.models, *options],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.root / "home"),
                **self.hub.environment(),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    with LoopbackHub() as hub:
        yield Build(hub, tmp_path)


async def test_the_worker_finds_what_the_build_has_fetched(build: Build) -> None:
    commit = build.hub.add_repo("Org/Model", FILES)
    done = build.prefetch("org/model")  # the Hub corrects the letter case
    assert done.returncode == 0, done.stderr
    build.hub.faults.add(".*", "500", times=None)
    moved = build.models.rename(build.root / "image")
    worker = SnapshotDownloader(build.root / "own", {}, caches=(moved,))
    found = await worker.fetch(ResolvedModel("Org/Model", commit), None, lambda _: None)
    path = found.path
    assert path.is_relative_to(moved)
    assert {file.name for file in path.iterdir()} == {"config.json", "model.safetensors"}
    assert (moved / "org" / "model").samefile(path)


def test_a_revision_is_fetched_and_named_as_it_was_asked_for(build: Build) -> None:
    old = build.hub.add_repo("org/model", FILES)
    build.hub.tag("org/model", "v1")
    build.hub.commit("org/model", {"config.json": b'{"new": 1}'})
    assert build.prefetch("org/model@v1").returncode == 0
    assert (build.models / "org" / "model@v1").resolve().name == old


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_gated_model_takes_a_token_and_keeps_it_nowhere(build: Build, way: str) -> None:
    build.hub.add_repo("org/gated", FILES, gated="manual")
    build.hub.accept("org/gated", "ann")
    token = build.hub.add_account("ann")
    secret = build.root / "secret"
    if way == "file":
        secret.write_text(token + "\n")
        # The file belongs to this build. The variable may be a default of the machine.
        done = build.prefetch(
            "org/gated", "--token-file", str(secret), HF_TOKEN="hf_" + secrets.token_hex(16)
        )
        secret.unlink()
    else:
        done = build.prefetch("org/gated", HF_TOKEN=token)
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr
    for file in build.root.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


def test_a_build_without_the_secret_fetches_what_is_public(build: Build) -> None:
    build.hub.add_repo("org/model", FILES)
    assert build.prefetch("org/model", "--token-file", "/nonexistent/token").returncode == 0


def test_nothing_is_left_outside_the_directory(build: Build) -> None:
    build.hub.add_repo("org/model", FILES)
    assert build.prefetch("org/model").returncode == 0
    assert [path.name for path in build.root.iterdir()] == ["models"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("org/gated", "gated"),
        ("org/missing", "does not exist"),
        ("org/../model", "must be a Hugging Face id"),
    ],
)
def test_a_build_fails_without_the_model(build: Build, name: str, why: str) -> None:
    build.hub.add_repo("org/gated", FILES, gated="manual")
    done = build.prefetch(name)
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_token_is_reported_without_its_value(build: Build) -> None:
    secret = build.root / "secret"
    secret.write_text("Bearer of bad news")
    done = build.prefetch("org/model", "--token-file", str(secret))
    assert done.returncode == 2
    assert "malformed" in done.stderr
    assert "bad news" not in done.stderr
