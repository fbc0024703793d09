"""Lists directories of a volume that other workers change meanwhile.

`Path.glob` and `Path.rglob` fail when a directory is removed between its listing and the
descent. For the functions here, it is empty then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NOTHING_THERE = (FileNotFoundError, NotADirectoryError, PermissionError)


def inside(directory: Path) -> list[Path]:
    """The entries of `directory`; none if it is missing or closed to this user."""
    with suppress(*_NOTHING_THERE):
        return list(directory.iterdir())
    return []


def below(directory: Path) -> Iterator[Path]:
    """All files, directories and links below `directory`. It does not follow links."""
    for place, directories, files in os.walk(directory, onerror=_unless_gone):
        yield from (Path(place, name) for name in (*directories, *files))


def repositories(cache: Path) -> Iterator[tuple[str, Path]]:
    """The repositories with a directory in `cache`, and these directories, sorted by name."""
    for directory in sorted(inside(cache)):
        match directory.name.split("--"):  # no Hub name has two dashes in a row
            case ["models", org, name]:
                yield f"{org}/{name}", directory


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, _NOTHING_THERE):
        raise error
