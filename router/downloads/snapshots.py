"""Snapshots in a Hub cache directory: finds complete ones, and removes them.

The layout is `huggingface_hub`'s: `models--org--name/{blobs,snapshots,trees}`, where a
snapshot is a directory of links to blobs. The router adds `router-manifests`: one JSON file
per snapshot, written last, with the size of every file. A snapshot counts as downloaded if
it has a manifest and all its files have these sizes.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from router.downloads.listing import below, inside, repositories
from router.downloads.refs import Refs
from router.repository.files import RemoteFile
from router.repository.weight_names import SAFE, UNSAFE

PARTIAL_SUFFIX = ".incomplete"  # huggingface_hub's name for a blob that is being written
WITHDRAWN = ".withdrawn"  # a manifest whose snapshot is being removed


class DamagedSnapshot(Exception):
    """A file that was just downloaded has the wrong size."""


class Snapshots:
    """The snapshots in one Hub cache directory."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self.refs = Refs(cache)

    def repo(self, repo_id: str) -> Path:
        return self._cache / f"models--{repo_id.replace('/', '--')}"

    def path(self, repo_id: str, commit: str) -> Path:
        return self.repo(repo_id) / "snapshots" / commit

    def lock_folder(self, repo_id: str) -> Path:
        """The folder of the `VolumeLock` for a repository, whose commits share blobs.

        All workers on a volume must agree on this path, so its name can't change.
        """
        return self._cache / "router-leases" / self.repo(repo_id).name

    def manifest(self, repo_id: str, commit: str) -> Path:
        return self._cache / "router-manifests" / self.repo(repo_id).name / f"{commit}.json"

    def all(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of each snapshot that has a manifest, or whose removal was
        interrupted."""
        for repo_id, folder in repositories(self._cache / "router-manifests"):
            for manifest in inside(folder):
                if manifest.suffix in (".json", WITHDRAWN):
                    yield repo_id, manifest.stem

    def own_files(self, repo_id: str, commit: str) -> dict[Path, int]:
        """A snapshot's files in this cache, with their bytes: its blobs, and regular files.

        Files in other caches are not included.
        """
        blobs, found = self.repo(repo_id) / "blobs", {}
        for entry in below(self.path(repo_id, commit)):
            with suppress(FileNotFoundError):
                file = blobs / entry.readlink().name if entry.is_symlink() else entry
                status = file.lstat()
                if stat.S_ISREG(status.st_mode):
                    found[file] = status.st_size
        return found

    def find(self, repo_id: str, commit: str) -> Path | None:
        """The snapshot's directory if it is complete, else None. Never writes."""
        try:
            sizes = json.loads(self.manifest(repo_id, commit).read_bytes())
        except (OSError, ValueError):  # missing, or not readable for this user
            return None
        snapshot = self.path(repo_id, commit)
        complete = all(_size(snapshot / name) == size for name, size in sizes.items())
        return snapshot if complete else None

    def seal(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> None:
        """Check the size of every file, then write the manifest. Raises `DamagedSnapshot`."""
        snapshot = self.path(repo_id, commit)
        sizes = {file.name: file.size for file in files}
        for name, size in sizes.items():
            if _size(snapshot / name) != size:
                raise DamagedSnapshot(name)
        manifest = self.manifest(repo_id, commit)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        draft = manifest.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(sizes))
        draft.replace(manifest)

    def remove_damaged(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> None:
        """Remove files of the wrong size, because the Hub's client would never replace them."""
        for file in files:
            for path in self._places(repo_id, commit, file):
                if _size(path) not in (None, file.size):
                    path.unlink()

    def bytes_present(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> int:
        """Total bytes of those files that need no download."""
        return sum(file.size for file in files if self.has(repo_id, commit, file))

    def has(self, repo_id: str, commit: str, file: RemoteFile) -> bool:
        return any(_size(path) == file.size for path in self._places(repo_id, commit, file))

    def is_linked(self, repo_id: str, file: RemoteFile) -> bool:
        """Whether the file's content is a link into a source cache."""
        return (self.repo(repo_id) / "blobs" / file.blob).is_symlink()

    def link_present(self, repo_id: str, commit: str, files: Iterable[RemoteFile]) -> None:
        """Link the commit to its blobs that other commits have downloaded, so that they outlive
        those commits."""
        for file in files:
            link, blob = self._places(repo_id, commit, file)
            if _size(blob) == file.size and not link.is_symlink() and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(os.path.relpath(blob, link.parent))

    def partials(self, repo_id: str) -> list[Path]:
        """Partial blobs: still being written, or left by a worker that died."""
        blobs = inside(self.repo(repo_id) / "blobs")
        return [blob for blob in blobs if blob.name.endswith(PARTIAL_SUFFIX)]

    def remove_client_locks(self, repo_id: str) -> None:
        """Remove the lock files of the Hub's client. Call it only with the `VolumeLock` held.

        On a volume without `flock`, these files outlive a killed process, and the next download
        would wait for them forever.
        """
        shutil.rmtree(self._cache / ".locks" / self.repo(repo_id).name, ignore_errors=True)

    def blobs(self, repo_id: str) -> frozenset[str]:
        """The names of all blobs of a repository. Raises `OSError` if they can't be listed: an
        unfinished download must not remove blobs that it did not bring."""
        try:
            return frozenset(path.name for path in (self.repo(repo_id) / "blobs").iterdir())
        except FileNotFoundError:
            return frozenset()

    def remove_partials(self, repo_id: str, partials: Iterable[str]) -> None:
        """Remove these partial blobs only: others may belong to another download."""
        for name in partials:
            (self.repo(repo_id) / "blobs" / Path(name).name).unlink(missing_ok=True)

    def discard(self, repo_id: str, commit: str, before: frozenset[str]) -> None:
        """Undo an unfinished download of one commit.

        It keeps the blobs in `before`, and those that other commits link to.
        """
        repo, snapshot = self.repo(repo_id), self.path(repo_id, commit)
        shared = {
            blob
            for other in inside(repo / "snapshots")
            if other != snapshot
            for blob in _linked(other)
        }
        for name in _linked(snapshot) - shared - before:
            (repo / "blobs" / name).unlink(missing_ok=True)
        for link in below(snapshot):
            if not link.exists():
                link.unlink(missing_ok=True)
        for folder, _, _ in os.walk(snapshot, topdown=False):
            with suppress(OSError):  # not empty
                Path(folder).rmdir()
        if not snapshot.exists():
            self.refs.forget(repo_id, commit)
            (repo / "trees" / f"{commit}.json").unlink(missing_ok=True)

    def remove(self, repo_id: str, commit: str, unless: Callable[[], bool]) -> bool:
        """Remove a snapshot, and its blobs that no other commit links to.

        Call it only with the `VolumeLock` held. The manifest goes first, so that no worker
        finds the snapshot any more. Then `unless` is called: if it returns True, because a
        worker found the snapshot just before, everything stays and this returns False.
        """
        manifest = self.manifest(repo_id, commit)
        withdrawn = manifest.with_suffix(WITHDRAWN)
        with suppress(FileNotFoundError):
            manifest.replace(withdrawn)
        if unless():
            with suppress(FileNotFoundError):
                withdrawn.replace(manifest)
            return False
        self.refs.forget(repo_id, commit)
        self.discard(repo_id, commit, frozenset())
        repo, snapshot = self.repo(repo_id), self.path(repo_id, commit)
        shutil.rmtree(snapshot, ignore_errors=True)  # the rest are links to shared blobs
        (repo / "trees" / f"{commit}.json").unlink(missing_ok=True)
        self.refs.forget(repo_id, commit)  # another worker may have written one meanwhile
        withdrawn.unlink(missing_ok=True)
        self.remove_client_locks(repo_id)
        folders = [repo / name for name in ("blobs", "snapshots", "trees")]
        for folder in (*folders, repo, manifest.parent):
            with suppress(OSError):  # not empty
                folder.rmdir()
        return True

    def _places(self, repo_id: str, commit: str, file: RemoteFile) -> tuple[Path, Path]:
        return (
            self.path(repo_id, commit) / file.name,
            self.repo(repo_id) / "blobs" / file.blob,
        )


def has_safe_weights(snapshot: Path) -> bool:
    """Whether an engine loads no pickles. It loads pickles if there are no other weights."""
    top = [file.name for file in inside(snapshot)]
    if any(name.endswith(UNSAFE) for name in top):
        return any(name.endswith(SAFE) for name in top)
    return any(file.name.endswith(SAFE) for file in below(snapshot))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # missing, or not readable for this user
        return None


def _linked(snapshot: Path) -> set[str]:
    """The names of the blobs that a snapshot links to."""
    linked = set()
    for entry in below(snapshot):
        with suppress(FileNotFoundError):
            if entry.is_symlink():
                linked.add(entry.readlink().name)
    return linked
