"""Lists what other processes change meanwhile, and never fails on what vanished.

`Path.rglob` fails on a directory that is removed between its listing and the descent. Downloads
in another process cause that: `huggingface_hub` removes a temporary directory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path


def below(directory: Path, pattern: str = "*") -> list[Path]:
    """Return all files, directories and links below `directory` whose names match."""
    return [
        Path(folder, name)
        for folder, folders, files in os.walk(directory)
        for name in (*folders, *files)
        if fnmatchcase(name, pattern)
    ]


def opened(pid: int) -> list[str]:
    """Return what each open descriptor of a process leads to: a path, `socket:[INODE]`, ..."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(link.readlink()))
    return links
