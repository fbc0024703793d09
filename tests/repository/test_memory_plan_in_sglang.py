"""Compares the plans with the real SGLang's pools. Computing their sizes needs no GPU."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from router.repository.conditions import Conditions
from router.repository.memory_plan import Files, plan_of
from tests.repository.model_families import FAMILIES, Family

ROOT = Path(__file__).parents[2]
GPUS = (1, 4, 16)

# The others have their code in the repository.
ASKED = [family for family in FAMILIES if "auto_map" not in family.config]

pytestmark = [pytest.mark.process, pytest.mark.sglang]

Answer = dict[str, float] | str


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Answer]:
    root = tmp_path_factory.mktemp("families")
    questions: dict[tuple[str, int], dict[str, Any]] = {}
    for number, family in enumerate(ASKED):
        directory = root / str(number)
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(family.config))
        for gpus in GPUS:
            questions[family.name, gpus] = {"directory": str(directory), "tensor": gpus}
    done = subprocess.run(
        [ROOT / ".venv-sglang/bin/python", Path(__file__).with_name("sglang_shapes.py")],
        input=json.dumps(list(questions.values())),
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT / "engines/cpu"),
            "SGLANG_USE_CPU_ENGINE": "1",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return dict(zip(questions, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("gpus", GPUS)
@pytest.mark.parametrize("family", ASKED, ids=lambda family: family.name)
def test_sglang_sizes_its_pools_so(
    family: Family, gpus: int, answers: dict[tuple[str, int], Answer]
) -> None:
    found = answers[family.name, gpus]
    if isinstance(found, str) and "divisible" in found:
        pytest.skip(found)  # such an engine would not start either
    assert isinstance(found, dict), found
    on = Conditions(flags=(f"--tp-size={gpus}", "--disable-radix-cache"))
    plan = plan_of(Files(family.config, family.stored), on)
    assert plan.token == -(-found["token"] // 1)
    assert plan.sequence == pytest.approx(found["sequence"], rel=0.001)
    assert plan.context == found["context"]
    assert found["element"] == 2
