"""Source caches: Hub caches that another program filled, such as RunPod's cached models.

A source cache is only read, and has no manifest of the router. A file in it is used if it has
the size that the Hub lists for this commit and, if it is a link to a blob as in
`huggingface_hub`, the blob's name is the digest that the Hub lists. `huggingface_hub` itself
checks no more: hashing 100 GB would take minutes, and an interrupted download leaves files that
are short or have another name. Each file is checked separately. Missing or damaged files are
downloaded, and the snapshot gets a manifest like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from router.downloads.snapshots import Snapshots
from router.repository.files import RemoteFile


def link_from_caches(
    snapshots: Snapshots,
    repo_id: str,
    commit: str,
    files: Iterable[RemoteFile],
    caches: Iterable[Path],
) -> None:
    """Link those of `files` that `snapshots` lacks to the first good copy in `caches`."""
    lacking = [file for file in files if not snapshots.has(repo_id, commit, file)]
    home = snapshots.repo(repo_id)
    for cache in caches:
        for source in _repos(cache, home):
            for file in lacking:
                blob = home / "blobs" / file.blob
                found = source / "snapshots" / commit / file.name
                if not blob.exists() and _is_good(found, file, cache):
                    blob.parent.mkdir(parents=True, exist_ok=True)
                    blob.unlink(missing_ok=True)  # a link to a deleted file
                    blob.symlink_to(found.resolve())


def _repos(cache: Path, home: Path) -> Iterator[Path]:
    """This repository's folders, except `home`. RunPod's may be in lower case."""
    try:
        folders = list(cache.iterdir())
    except OSError:  # missing or unreadable: this cache has nothing to use
        return
    for folder in folders:
        if folder.name.casefold() == home.name.casefold() and folder != home:
            yield folder


def _is_good(found: Path, file: RemoteFile, cache: Path) -> bool:
    try:
        return (
            found.stat().st_size == file.size
            and (not found.is_symlink() or found.readlink().name == file.blob)
            and found.resolve().is_relative_to(cache.resolve())
        )
    except OSError:
        return False
