"""Each incident shows its cause to the operator, as docs/operations.md says."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.harness import Harness
from tests.incidents.every import INCIDENTS
from tests.loopback_hub import LoopbackHub
from tests.worker import ROOT

# Varying text: numbers with their units, digests, folders.
_VARYING = re.compile(
    r"\b[0-9a-f]{7,}\b|/[\w./-]+|https?://\S+|\d[\d.,]*( (s|min|h|B|[KMG]iB)\b)?"
)


def plain(line: str) -> str:
    return " ".join(_VARYING.sub("#", line).split())


def recipe(title: str) -> list[str]:
    """The lines of the recipe's blocks in the document."""
    text = (ROOT / "docs/operations.md").read_text()
    chapter = text.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.mark.process
@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda one: one.__name__)
async def test_an_incident_looks_as_its_recipe_says(
    incident: ModuleType, tmp_path: Path
) -> None:
    with LoopbackHub() as hub:
        transcript = await incident.play(Harness(hub, tmp_path))
    shown = {plain(line) for text in transcript for line in text.splitlines()}
    quoted = recipe(incident.TITLE)
    assert any(line.startswith("$ model-router ps") for line in quoted)
    assert [line for line in quoted if plain(line) not in shown] == []
