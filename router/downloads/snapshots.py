"""Snapshots on disk: which are whole, what a broken-off download leaves, and free space.

The layout is `huggingface_hub`'s: `models--org--name/{blobs,snapshots,trees}`, where a
snapshot holds links to blobs. Beside it stands `router-manifests`, ours: a snapshot is on
disk when its manifest, written last, names every file with its size, and each has it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from router.errors import InsufficientDisk

PARTIAL_SUFFIX = ".incomplete"  # huggingface_hub's, for a blob that is being written


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the Hub lists it."""

    name: str  # its path in the repository
    size: int  # bytes
    blob: str  # what the cache calls its content: the LFS digest, else git's


class DamagedSnapshot(Exception):
    """A file that was just downloaded does not have its size."""


class Snapshots:
    """The snapshots in one Hub cache directory."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def repo(self, repo_id: str) -> Path:
        return self._cache / f"models--{repo_id.replace('/', '--')}"

    def path(self, repo_id: str, commit: str) -> Path:
        return self.repo(repo_id) / "snapshots" / commit

    def leases(self, repo_id: str) -> Path:
        """Where workers take turns: at the repository, whose commits share their blobs."""
        return self._cache / "router-leases" / self.repo(repo_id).name

    def find(self, repo_id: str, commit: str) -> Path | None:
        """The snapshot, if it is whole. Changes nothing: the cache may be an image's."""
        try:
            sizes = json.loads(self._manifest(repo_id, commit).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        snapshot = self.path(repo_id, commit)
        whole = all(_size(snapshot / name) == size for name, size in sizes.items())
        return snapshot if whole else None

    def seal(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> None:
        """Verify every file, then write the manifest. Raises `DamagedSnapshot`."""
        snapshot = self.path(repo_id, commit)
        sizes = {file.name: file.size for file in files}
        for name, size in sizes.items():
            if _size(snapshot / name) != size:
                raise DamagedSnapshot(name)
        manifest = self._manifest(repo_id, commit)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        draft = manifest.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(sizes))
        draft.replace(manifest)

    def repair(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> None:
        """Remove files of the wrong size: the Hub's client takes what exists for good."""
        for file in files:
            for path in self._places(repo_id, commit, file):
                if _size(path) not in (None, file.size):
                    path.unlink()

    def present(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> int:
        """Bytes of these files that are on disk and need no download."""
        return sum(file.size for file in files if self.has(repo_id, commit, file))

    def has(self, repo_id: str, commit: str, file: RemoteFile) -> bool:
        return any(_size(path) == file.size for path in self._places(repo_id, commit, file))

    def partials(self, repo_id: str) -> list[Path]:
        """The blobs that are being written, or were when a worker died."""
        return list((self.repo(repo_id) / "blobs").glob(f"*{PARTIAL_SUFFIX}"))

    def unlock(self, repo_id: str) -> None:
        """Remove the locks of the Hub's client; for the holder of the lease.

        Where a volume lacks `flock` they are files that outlive who is killed, and the next
        one would wait for ever.
        """
        shutil.rmtree(self._cache / ".locks" / self.repo(repo_id).name, ignore_errors=True)

    def blobs(self, repo_id: str) -> frozenset[str]:
        """The names of the blobs that are there now."""
        try:
            return frozenset(path.name for path in (self.repo(repo_id) / "blobs").iterdir())
        except FileNotFoundError:
            return frozenset()

    def sweep(self, repo_id: str, partials: Iterable[str]) -> None:
        """Remove partial blobs: these and no others, which another download may be writing."""
        for name in partials:
            (self.repo(repo_id) / "blobs" / Path(name).name).unlink(missing_ok=True)

    def discard(self, repo_id: str, commit: str, before: frozenset[str]) -> None:
        """Take back a broken-off download: what came after `before`, and only it has."""
        repo, snapshot = self.repo(repo_id), self.path(repo_id, commit)
        shared = {
            blob
            for other in (repo / "snapshots").glob("*")
            if other != snapshot
            for blob in _linked(other)
        }
        for name in _linked(snapshot) - shared - before:
            (repo / "blobs" / name).unlink(missing_ok=True)
        for link in snapshot.rglob("*"):
            if not link.exists():
                link.unlink()
        for folder, _, _ in os.walk(snapshot, topdown=False):
            if not any(Path(folder).iterdir()):
                Path(folder).rmdir()
        if not snapshot.exists():
            (repo / "trees" / f"{commit}.json").unlink(missing_ok=True)

    def remove(self, repo_id: str, commit: str, unless: Callable[[], bool]) -> bool:
        """Take a snapshot off the disk, and what only it has; for the holder of the lease.

        `unless` is asked when nobody can find it any more: who did so just before may have
        said so. Then all stays, and this returns False.
        """
        manifest = self._manifest(repo_id, commit)
        withdrawn = manifest.with_suffix(".withdrawn")
        with suppress(FileNotFoundError):
            manifest.replace(withdrawn)
        if unless():
            with suppress(FileNotFoundError):
                withdrawn.replace(manifest)
            return False
        self.discard(repo_id, commit, frozenset())
        repo, snapshot = self.repo(repo_id), self.path(repo_id, commit)
        shutil.rmtree(snapshot, ignore_errors=True)  # links to what other commits have, too
        (repo / "trees" / f"{commit}.json").unlink(missing_ok=True)
        withdrawn.unlink(missing_ok=True)
        self.unlock(repo_id)
        folders = [repo / name for name in ("blobs", "snapshots", "trees")]
        for folder in (*folders, repo, manifest.parent):
            with suppress(OSError):  # there is more in it
                folder.rmdir()
        return True

    def _manifest(self, repo_id: str, commit: str) -> Path:
        return self._cache / "router-manifests" / self.repo(repo_id).name / f"{commit}.json"

    def _places(self, repo_id: str, commit: str, file: RemoteFile) -> tuple[Path, Path]:
        return (
            self.path(repo_id, commit) / file.name,
            self.repo(repo_id) / "blobs" / file.blob,
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _linked(snapshot: Path) -> set[str]:
    """The names of the blobs that a snapshot links to."""
    return {link.readlink().name for link in snapshot.rglob("*") if link.is_symlink()}


class Claim:
    """What one download has yet to write."""

    def __init__(self, ledger: DiskLedger) -> None:
        self._ledger = ledger
        self.left = 0  # bytes

    def take(self, needed: int) -> None:
        """Claim so many bytes. Raises `InsufficientDisk`, saying how many are missing."""
        missing = needed - self._ledger.available()
        if missing > 0:
            raise InsufficientDisk(
                f"The model needs {needed:,} bytes of disk; {missing:,} bytes are missing. "
                "Use a worker with a larger disk, or a smaller model."
            )
        self.left = needed


class DiskLedger:
    """Free space, less what downloads in progress have yet to write there."""

    def __init__(self, free: Callable[[], int]) -> None:
        """`free` measures the bytes that are free on the disk just now."""
        self._free = free
        self._claims: set[Claim] = set()

    def available(self) -> int:
        return self._free() - sum(claim.left for claim in self._claims)

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """A claim for the time of the block, empty until its `take`."""
        claim = Claim(self)
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.remove(claim)
