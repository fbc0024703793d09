"""Compares the layouts with the real SGLang's loader, which runs on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from router.repository.listing import Listing
from router.repository.select_files import Selection
from tests.repository.layout import NAMES, Layout

ROOT = Path(__file__).parents[2]
LAYOUTS = [layout for name in NAMES if "refused" not in (layout := Layout.read(name)).entry]

pytestmark = pytest.mark.sglang


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str] | str]:
    """The files that SGLang loads, by layout and by content of the directory: `all` or
    `chosen`."""
    root = tmp_path_factory.mktemp("layouts")
    questions, keys = [], []
    for layout in LAYOUTS:
        tables = {"all": ("weights", "small", "left"), "chosen": ("weights", "small")}
        for kind, names in tables.items():
            directory = root / layout.name / kind / f"models--{layout.repo.replace('/', '--')}"
            build(layout, directory, layout.sizes(*names))
            config = layout.documents.get("config.json", {})
            questions.append({"directory": str(directory), "config": config})
            keys.append((layout.name, kind))
    answers = ask(questions)
    return dict(zip(keys, (set(a) if isinstance(a, list) else a for a in answers), strict=True))


def build(layout: Layout, directory: Path, names: Iterable[str]) -> None:
    index = Selection(Listing.of(layout.listing()), layout.repo, layout.unsafe_weights).index
    layout.write(directory, index)
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


def ask(questions: list[dict[str, Any]]) -> list[list[str] | str]:
    done = subprocess.run(
        [
            ROOT / ".venv-sglang/bin/python",
            Path(__file__).with_name("sglang_loader.py"),
        ],
        input=json.dumps(questions),
        env=os.environ
        | {"PYTHONPATH": str(ROOT / "engines/cpu"), "SGLANG_USE_CPU_ENGINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[list[str] | str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_sglang_loads_what_is_chosen(
    layout: Layout, loaded: dict[tuple[str, str], set[str] | str]
) -> None:
    weights = layout.sizes("weights").keys()
    assert loaded[layout.name, "chosen"] == weights - layout.names("by_name")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_sglang_would_load_of_the_whole_repository_is_chosen(
    layout: Layout, loaded: dict[tuple[str, str], set[str] | str]
) -> None:
    found = loaded[layout.name, "all"]
    assert isinstance(found, set), found
    assert found - layout.names("read_twice") <= layout.sizes("weights").keys()
