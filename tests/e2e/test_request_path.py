"""A request passes through the files listed in router/README.md, in this order."""

from __future__ import annotations

import re
from pathlib import Path

from tests.request_path import passed, trace
from tests.worker import ROOT


async def test_a_warm_streamed_request_passes_through_the_listed_files(tmp_path: Path) -> None:
    text = (ROOT / "router/README.md").read_text()
    chapter = text.partition("## A request")[2].partition("\n## ")[0]
    listed = re.findall(r"^\d+\. `([\w/]+\.py)`", chapter, re.MULTILINE)
    assert passed(await trace(tmp_path)) == listed
