"""A repository's list of files, with a size limit and safe names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile

MAX_FILES = 10_000
# Lone surrogates can't be in a file name, and no answer could repeat them.
_SAFE_NAME = re.compile(r"[^\x00-\x1f\\\x7f\ud800-\udfff]{1,512}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one commit, by name."""

    files: Mapping[str, RemoteFile]

    @classmethod
    def of(cls, files: Iterable[RemoteFile]) -> Listing:
        """Raises `UnsupportedModel` if there are too many files or a file's name is unsafe."""
        listed = list(itertools.islice(files, MAX_FILES + 1))  # the listing may be endless
        if len(listed) > MAX_FILES:
            raise UnsupportedModel(f"The repository has more than {MAX_FILES} files.")
        if not all(_is_safe(file.name) for file in listed):
            raise UnsupportedModel(
                "The repository has a file with a name that is not safe on disk."
            )
        return cls({file.name: file for file in listed})

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def top(self, start: str = "", end: str | tuple[str, ...] = "") -> list[str]:
        """The names of top-level files with this start and end, sorted."""
        return sorted(
            name
            for name in self.files
            if "/" not in name and name.startswith(start) and name.endswith(end)
        )

    def take(self, names: Iterable[str]) -> list[RemoteFile]:
        return [self.files[name] for name in dict.fromkeys(names)]


def _is_safe(name: str) -> bool:
    return bool(_SAFE_NAME.fullmatch(name)) and not {"", ".", ".."} & set(name.split("/"))
