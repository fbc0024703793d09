"""Reads `layouts/`: repositories of real model families, with made-up contents.

Each layout is one file:

repo            the repository's name
[weights]       files that the router downloads and an engine loads, with their bytes
[small]         other files that the router downloads
[left]          files that it does not download
bytes, memory   of all downloads; of the weights that an engine holds
refused         instead of these: words of the refusal. All files are in `left`
index           the files that the index names
by_name         weights that an architecture opens by name, unlike SGLang's loader
read_twice      files in `left` that SGLang's loader would read in addition to the weights
unsafe_weights  the operator allows pickles
purpose         the pipeline tag of its card
unfit           the reason for a refusal, if its own code is not permitted
task, flags     the model's task, and its engine's flags

`[documents]` and `[lists]` hold the content of small files. In a name, `-*-of-00004` means four
shards; the bytes are those of all four.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.repository.files import RemoteFile

FOLDER = Path(__file__).parent / "layouts"
NAMES = sorted(file.stem for file in FOLDER.glob("*.toml"))
_SHARDS = re.compile(r"(.*-)\*(-of-(\d+)\..*)")


@dataclass(frozen=True, slots=True)
class Layout:
    name: str
    entry: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Layout:
        return cls(name, tomllib.loads((FOLDER / f"{name}.toml").read_text()))

    @property
    def repo(self) -> str:
        return str(self.entry["repo"])

    @property
    def unsafe_weights(self) -> bool:
        return bool(self.entry.get("unsafe_weights", False))

    @property
    def documents(self) -> dict[str, Any]:
        """The content of small files, by name."""
        return {**self.entry.get("documents", {}), **self.entry.get("lists", {})}

    def sizes(self, *tables: str) -> dict[str, int]:
        """By name, of the files in these tables."""
        return {
            name: size
            for table in tables
            for pattern, total in self.entry.get(table, {}).items()
            for name, size in _expanded(pattern, total).items()
        }

    def names(self, key: str) -> set[str]:
        return {name for each in self.entry.get(key, ()) for name in _expanded(each, 0)}

    def listing(self) -> list[RemoteFile]:
        sizes = self.sizes("weights", "small", "left")
        return [RemoteFile(name, size, f"blob of {name}") for name, size in sizes.items()]

    def write(self, snapshot: Path, index: str | None) -> None:
        """Put the documents into a directory, and the index under its name."""
        documents = self.documents
        if index is not None:
            shards = sorted(self.names("index"))
            documents[index] = {
                "metadata": {"total_size": 1},
                "weight_map": {f"layers.{n}.weight": name for n, name in enumerate(shards)},
            }
        for name, content in documents.items():
            file = snapshot / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content))


def _expanded(pattern: str, total: int) -> dict[str, int]:
    found = _SHARDS.fullmatch(pattern)
    if found is None:
        return {pattern: total}
    start, end, count = found[1], found[2], int(found[3])
    width = len(found[3]) if found[3].startswith("0") else 1
    each, rest = divmod(total, count)
    names = [f"{start}{number:0{width}}{end}" for number in range(1, count + 1)]
    return {name: each + (rest if name == names[0] else 0) for name in names}
