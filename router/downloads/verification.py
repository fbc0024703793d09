"""Checks the files of a snapshot against the digests in their names.

The Hub's client names a blob by its digest: SHA-256 for an LFS file, git's own for any other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from router.downloads.inventory import KeptSnapshot
from router.downloads.listing import below
from router.downloads.snapshots import Snapshots

_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_CHUNK = 8 << 20  # bytes


@dataclass(frozen=True, slots=True)
class FileFinding:
    """The result for one file. `flaw`: what is wrong, or "". `checked`: whether its content was
    compared, and not only its size."""

    name: str
    flaw: str
    checked: bool = True


class Verification:
    """Checks snapshots one after the other. A shared blob is checked once."""

    def __init__(self, read: Callable[[int], None] = lambda _: None) -> None:
        """`read` is called with each number of bytes read."""
        self._read = read
        self._sound: dict[Path, bool] = {}  # by blob

    def findings(self, one: KeptSnapshot) -> Iterator[FileFinding]:
        """The result for each file. Raises `OSError` for a file that can't be read."""
        sizes = _sizes(one)
        for name in sorted(sizes):
            yield self._finding(one.path / name, name, sizes[name])

    def _finding(self, file: Path, name: str, size: int | None) -> FileFinding:
        try:
            found = file.stat().st_size
        except FileNotFoundError:
            return FileFinding(name, "missing")
        if size is not None and found != size:
            return FileFinding(name, f"{found:,} bytes instead of {size:,}")
        digest = file.readlink().name if file.is_symlink() else ""
        if not (_SHA256.fullmatch(digest) or _GIT.fullmatch(digest)):
            return FileFinding(name, "", checked=False)
        blob = file.resolve()
        if blob not in self._sound:
            self._sound[blob] = self._digest(blob, found, digest) == digest
        return FileFinding(name, "" if self._sound[blob] else "damaged: not what the Hub has")

    def _digest(self, file: Path, size: int, expected: str) -> str:
        if _SHA256.fullmatch(expected):
            digest = hashlib.sha256()
        else:
            digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                self._read(len(chunk))
        return digest.hexdigest()


def _sizes(one: KeptSnapshot) -> dict[str, int | None]:
    """The snapshot's files, with their sizes from the manifest; without one, all files."""
    try:
        manifest = Snapshots(one.cache).manifest(one.repo_id, one.commit).read_bytes()
        return dict(json.loads(manifest))
    except (FileNotFoundError, ValueError):
        entries = below(one.path)
        return {
            entry.relative_to(one.path).as_posix(): None
            for entry in entries
            if entry.is_symlink() or entry.is_file()
        }
