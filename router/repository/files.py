"""The files of a repository, as the Hub lists them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in the Hub's listing."""

    name: str  # path in the repository
    size: int  # bytes
    blob: str  # name of its content in the cache: the LFS digest, else git's
