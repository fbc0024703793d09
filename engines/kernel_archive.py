"""Packs the kernels that an engine has compiled into one file, and unpacks them.

One file, because a network volume is slow with thousands of small ones, and because one file
can be replaced atomically. It holds only regular files; the engine makes everything else
again. The engine is not trusted and may change its directory meanwhile, so `pack` follows no
link and reads only files that the engine's user owns.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MOST_BYTES = 1 << 30
MOST_FILES = 50_000
_MOST_LEVELS = 100  # of directories; `os.walk` calls itself for each
_LOCKS = (".lock", ".lck")  # each process makes its own; an old one may belong to another user
_MODES = 0o755


class UnusableArchive(Exception):
    """The archive is too large, or `pack` did not write it."""


def names_in(directory: Path) -> frozenset[str]:
    """The names of the files that `pack` would write. It opens no file.

    Raises `UnusableArchive` if they are too many or too deep.
    """
    names: set[str] = set()
    for folder, _, files in os.walk(directory):
        below = _below(directory, folder)
        names.update(str(below / name) for name in files if not name.endswith(_LOCKS))
        if len(names) > MOST_FILES:
            raise UnusableArchive("its kernels are too many")
    return frozenset(names)


def _below(directory: Path, folder: str) -> Path:
    """The folder's path in the directory. Raises `UnusableArchive` if it is too deep."""
    below = Path(folder).relative_to(directory)
    if len(below.parts) > _MOST_LEVELS:
        raise UnusableArchive("its kernels are in too many directories")
    return below


def pack(directory: Path, archive: Path, owner: int) -> None:
    """Write the files of `directory` to `archive`. `owner` is the engine's user id.

    Raises `UnusableArchive` if they are too many, too large or too deep, and `OSError`.
    """
    count = size = 0
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, file in _files(directory):
            with file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
                    continue
                size, count = size + status.st_size, count + 1
                if size > MOST_BYTES or count > MOST_FILES:
                    raise UnusableArchive("its kernels are too many")
                member = tarfile.TarInfo(name)
                member.size, member.mode = status.st_size, status.st_mode & _MODES
                member.mtime = status.st_mtime  # build tools compare times
                tar.addfile(member, file)


def _files(directory: Path) -> Iterator[tuple[str, BinaryIO]]:
    for folder, _, names, handle in os.fwalk(directory, follow_symlinks=False):
        below = _below(directory, folder)
        for name in sorted(names):
            if name.endswith(_LOCKS):
                continue
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                opened = os.open(name, flags, dir_fd=handle)
            except OSError:  # a link, or gone
                continue
            yield str(below / name), os.fdopen(opened, "rb")


def unpack(archive: Path, directory: Path) -> frozenset[str]:
    """Unpack into `directory`, which only this process can enter. Returns the names.

    Raises `UnusableArchive`, `OSError`, `tarfile.TarError`.
    """
    names: set[str] = set()
    size = 0
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            size += member.size
            names.add(member.name)
            if not member.isreg() or path.is_absolute() or ".." in path.parts:
                raise UnusableArchive(f"it holds {member.name!r}")
            if size > MOST_BYTES or len(names) > MOST_FILES:
                raise UnusableArchive("it is too large")
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101 - a regular file has content
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with content, os.fdopen(os.open(target, flags, member.mode & _MODES), "wb") as file:
                while block := content.read(1 << 20):
                    file.write(block)
            os.utime(target, (member.mtime, member.mtime))
    return frozenset(names)


def hand_over(directory: Path, uid: int, gid: int) -> None:
    """Give the directory to the engine's user.

    The directory itself comes last, so that the engine can't change its content meanwhile.
    """
    for _, _, files, handle in os.fwalk(directory, topdown=False, follow_symlinks=False):
        for name in files:
            os.chown(name, uid, gid, dir_fd=handle, follow_symlinks=False)
        os.fchown(handle, uid, gid)
