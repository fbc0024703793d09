"""Files out of Hub caches that others filled: RunPod's cached models, an image's.

Such a cache is only read, and has no manifest of ours. A file counts where it has the size
that the Hub lists for this commit and, where the cache links to blobs as `huggingface_hub`
does, its blob has the digest that the Hub lists as its name. `huggingface_hub` itself
believes no more; to hash 100 GB would take minutes, and what breaks a download off leaves
files that are short or have another name. Each file is judged by itself: what is missing or
damaged is downloaded, and the snapshot sealed as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from router.downloads.snapshots import RemoteFile, Snapshots


def borrow(
    snapshots: Snapshots,
    repo_id: str,
    commit: str,
    files: Iterable[RemoteFile],
    caches: Iterable[Path],
) -> None:
    """Link what `snapshots` lacks of these files to where it lies in `caches`."""
    lacking = [file for file in files if not snapshots.has(repo_id, commit, file)]
    home = snapshots.repo(repo_id)
    for cache in caches:
        for lender in _repos(cache, home):
            for file in lacking:
                blob = home / "blobs" / file.blob
                found = lender / "snapshots" / commit / file.name
                if not blob.exists() and _is_whole(found, file, cache):
                    blob.parent.mkdir(parents=True, exist_ok=True)
                    blob.unlink(missing_ok=True)  # a link whose target has gone
                    blob.symlink_to(found.resolve())


def _repos(cache: Path, home: Path) -> Iterator[Path]:
    """The folders for this repository, other than `home`: RunPod's may be in lower case."""
    try:
        folders = list(cache.iterdir())
    except OSError:  # not there, or not ours to read: then it lends nothing
        return
    for folder in folders:
        if folder.name.casefold() == home.name.casefold() and folder != home:
            yield folder


def _is_whole(found: Path, file: RemoteFile, cache: Path) -> bool:
    try:
        return (
            found.stat().st_size == file.size
            and (not found.is_symlink() or found.readlink().name == file.blob)
            and found.resolve().is_relative_to(cache.resolve())
        )
    except OSError:
        return False
