"""Removes directories that an engine has filled, however deep they are.

`shutil.rmtree` and `os.fwalk` (Python 3.11) call themselves for each level, so that a thousand
nested directories exceed Python's recursion limit, and open a file for each level.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path


def remove_tree(directory: Path) -> None:
    """Remove as much as possible. Follows no link and never raises because of the content.

    Each directory is moved to the top before its content is removed. Another engine may change
    it meanwhile, so everything is named relative to an open directory.
    """
    with suppress(OSError), _opened(directory) as top:
        waiting = [name for name in _names(top) if not _removed(name, top)]
        prefix, numbers = secrets.token_hex(8), count()
        while waiting:
            name = waiting.pop()
            with suppress(OSError), _opened(name, top) as opened:
                for inner in _names(opened):
                    if not _removed(inner, opened):
                        lifted = f"{prefix}-{next(numbers)}"
                        with suppress(OSError):
                            os.rename(inner, lifted, src_dir_fd=opened, dst_dir_fd=top)
                            waiting.append(lifted)
            with suppress(OSError):
                os.rmdir(name, dir_fd=top)
    with suppress(OSError):
        directory.rmdir()


@contextmanager
def _opened(path: str | Path, parent: int | None = None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    opened = os.open(path, flags, dir_fd=parent)
    try:
        yield opened
    finally:
        os.close(opened)


def _names(directory: int) -> list[str]:
    return os.listdir(directory)


def _removed(name: str, parent: int) -> bool:
    """Remove a file, a link or an empty directory. False if it is still there."""
    for remove in (os.unlink, os.rmdir):
        try:
            remove(name, dir_fd=parent)
        except OSError:
            continue
        return True
    return False
