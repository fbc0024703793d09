"""Checks a snapshot that another program has put on disk, like a download."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from router.repository.adapters import adapter_refused
from router.repository.copies import MissingWeights
from router.repository.files import RemoteFile
from router.repository.listing import MAX_FILES, Listing
from router.repository.read_facts import read_adapter, read_facts
from router.repository.select_files import Selection


def is_whole(snapshot: Path, repo_id: str, *, unsafe_weights: bool) -> bool:
    """Whether the snapshot has its configuration and all of its weights.

    Raises `UnsupportedModel` if the repository itself can't be served.
    """
    selection = Selection(
        Listing.of(islice(_files(snapshot), MAX_FILES)), repo_id, unsafe_weights
    )
    if "config.json" not in selection.listing:
        return False
    if selection.is_adapter_alone:
        raise adapter_refused(read_adapter(snapshot))
    facts = read_facts(snapshot, selection.index)
    try:
        weights = selection.weights(facts)
    except MissingWeights:
        return False
    if selection.is_adapter(facts, weights):
        raise adapter_refused(read_adapter(snapshot))
    return True


def _files(snapshot: Path) -> Iterator[RemoteFile]:
    """Yield the files that exist. Skips broken links."""
    for file in snapshot.rglob("*"):
        if file.is_file():
            blob = file.resolve().name if file.is_symlink() else str(file)
            name = file.relative_to(snapshot).as_posix()
            yield RemoteFile(name, file.stat().st_size, blob)
