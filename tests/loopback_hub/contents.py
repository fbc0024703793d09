"""Files and commits: immutable values, named by digests of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Like the .gitattributes of a new repository on the Hub: weights of any size are LFS files, and
# so are all large files. (The Hub's own limit is 10 MB.)
LFS_SUFFIXES = frozenset({".safetensors", ".bin"})
LFS_SIZE = 16 * 1024  # bytes

Files = Mapping[str, bytes] | Path


@dataclass(frozen=True, slots=True)
class Blob:
    """One file's bytes. `oid` is git's: of the file, or of its LFS pointer."""

    data: bytes
    oid: str
    sha256: str
    pointer_size: int | None  # bytes; None: not an LFS file

    @classmethod
    def of(cls, path: str, data: bytes) -> Blob:
        sha256 = hashlib.sha256(data).hexdigest()
        if PurePosixPath(path).suffix not in LFS_SUFFIXES and len(data) <= LFS_SIZE:
            return cls(data, _git_oid(data), sha256, None)
        pointer = (
            f"version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{sha256}\nsize {len(data)}\n"
        ).encode()
        return cls(data, _git_oid(pointer), sha256, len(pointer))


@dataclass(frozen=True, slots=True)
class Commit:
    """All files of a repository at one moment."""

    sha: str
    files: Mapping[str, Blob]

    @classmethod
    def on(cls, parent: Commit | None, repo_id: str, files: Files) -> Commit:
        """Add or replace files. The parent's other files stay."""
        blobs = dict(parent.files) if parent else {}
        blobs |= {path: Blob.of(path, data) for path, data in _read(files).items()}
        blobs = dict(sorted(blobs.items()))
        digest = hashlib.sha1(f"{repo_id} {parent.sha if parent else ''}".encode())
        for path, blob in blobs.items():
            digest.update(f"{path}\0{blob.oid}\n".encode())
        return cls(digest.hexdigest(), blobs)

    def folders(self) -> dict[str, str]:
        """Each folder's path, with a digest in place of git's tree."""
        paths = {
            str(parent)
            for path in self.files
            for parent in PurePosixPath(path).parents
            if parent.name
        }
        return {
            path: hashlib.sha1(f"{self.sha}/{path}".encode()).hexdigest()
            for path in sorted(paths)
        }


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _read(files: Files) -> dict[str, bytes]:
    if isinstance(files, Path):
        found = (path for path in sorted(files.rglob("*")) if path.is_file())
        return {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
    return dict(files)
