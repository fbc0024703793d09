"""`make docs`: write what is generated from the code into the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.import_graph import ROOT, drawing


def generated() -> Iterator[tuple[Path, str]]:
    """Each file that holds something generated, and what it should hold."""
    yield between(ROOT / "router/README.md", "imports", drawing())


def between(file: Path, name: str, text: str) -> tuple[Path, str]:
    """The file, with `text` between its marks `<!-- name:begin -->` and `<!-- name:end -->`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    parts = re.split(f"({begin}|{end})", file.read_text())
    if parts[1::2] != [begin, end]:
        raise ValueError(f"{file} needs the marks {begin} and {end}, once each, in this order")
    before, _, _, _, after = parts
    return file, f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    for file, text in generated():
        file.write_text(text)
