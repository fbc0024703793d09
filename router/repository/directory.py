"""Determines the task of a model in a directory of the operator's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from router.models import Task
from router.repository.architectures import named
from router.repository.task import Signs, task_of, unread

_MAX_BYTES = 4 << 20  # of a configuration file
_MAX_NAMES = 10_000


def task_of_directory(directory: Path, name: str | None = None) -> Task:
    """The task, by the same signs as for a repository. `GENERATE` if the directory can't be
    read.

    `name`: of the repository, if the directory has another name.
    """
    config = _parsed(directory / "config.json")
    signs = Signs(
        named(config) if isinstance(config, dict) else (),
        frozenset(islice(_names(directory), _MAX_NAMES)),
        name=directory.name if name is None else name,
    )
    while (name := unread(signs)) is not None:
        contents = {**signs.contents, name: _parsed(directory / name)}
        signs = replace(signs, contents=contents)
    return task_of(signs)


def _names(directory: Path) -> Iterator[str]:
    """Yield the entries' names. A folder's name ends with a slash."""
    with suppress(OSError):
        for entry in directory.iterdir():
            yield f"{entry.name}/" if entry.is_dir() else entry.name


def _parsed(file: Path) -> object | None:
    with suppress(OSError, ValueError, RecursionError):
        if file.stat().st_size <= _MAX_BYTES:
            content: object = json.loads(file.read_bytes())
            return content
    return None
