"""Reads a weight index, which maps tensors to files. It is scanned, because it is large."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from router.errors import UnsupportedModel
from router.repository.listing import MAX_FILES

# Scanning takes a few milliseconds per megabyte. DeepSeek-V3's index has 9 MB.
MAX_INDEX_BYTES = 128 << 20
_CHUNK = 1 << 20  # bytes; other threads run between chunks

# A name that begins with a slash, goes up, or hides either.
_LEADS_OUT = re.compile(rb'"[/~]|\.\.[/"]|\\')
_OVERLAP = 2  # bytes; one less than the longest match
# `check_index` refuses escapes, so each string is literal.
_NAMES_A_FILE = re.compile(rb'"([^"\x00-\x1f]{1,512}\.safetensors)"')


def check_index(file: Path, name: str) -> None:
    """Raises `UnsupportedModel` if the index is too large or leads out of the repository."""
    if file.stat().st_size > MAX_INDEX_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MAX_INDEX_BYTES} bytes.")
    with file.open("rb") as stream:
        before = b""
        while chunk := stream.read(_CHUNK):
            if _LEADS_OUT.search(before + chunk):
                raise UnsupportedModel(
                    f"The model's {name} is not safe to load: `weight_map` leads out of the "
                    "repository. Ask its owner to correct it."
                )
            before = chunk[-_OVERLAP:]


def indexed_files(file: Path, name: str) -> frozenset[str]:
    """The files that the index names. Raises `UnsupportedModel` like `check_index`, and if it
    names none or too many."""
    check_index(file, name)
    found: set[bytes] = set()
    with file.open("rb") as stream:
        if file.stat().st_size:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for match in _NAMES_A_FILE.finditer(content):
                    found.add(match[1])
                    if len(found) > MAX_FILES:
                        break
    if not 0 < len(found) <= MAX_FILES:
        raise UnsupportedModel(
            f"The model's {name} names {'too many' if found else 'no'} files of weights. "
            "Ask its owner to correct it."
        )
    return frozenset(name.decode(errors="replace") for name in found)
