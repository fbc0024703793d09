"""Judges a directory that the operator put a model in."""

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
    """By the same signs as a repository's. One that can't be read generates.

    `name`: of the repository, where the directory has another.
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
    """A folder's name ends in a slash, which begins the names of the files in it."""
    with suppress(OSError):
        for entry in directory.iterdir():
            yield f"{entry.name}/" if entry.is_dir() else entry.name


def _parsed(file: Path) -> object | None:
    with suppress(OSError, ValueError, RecursionError):
        if file.stat().st_size <= _MAX_BYTES:
            content: object = json.loads(file.read_bytes())
            return content
    return None
