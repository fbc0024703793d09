"""Reads which tensors files of safetensors hold: their names, number formats and sizes.

Each file begins with that, so a few kilobytes of each tell the bytes of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

MAX_HEADER = 32 << 20  # bytes of one; of the largest models 2 MB
MAX_HEADERS = 96 << 20  # bytes of all; of the largest models 20 MB
_LENGTH = 8  # bytes before it


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dtype: str  # F32, BF16, F8_E4M3, I32 ...
    size: int  # bytes


def read_tensors(files: Iterable[Path]) -> list[Tensor] | None:
    """None: they can't be read, or are not what they seem. Never raises for what they hold."""
    found: list[Tensor] = []
    left = MAX_HEADERS
    try:
        for file in files:
            header, size = _header(file, min(left, MAX_HEADER))
            left -= len(header)
            tensors = list(_tensors(orjson.loads(header)))
            if sum(each.size for each in tensors) > size:
                return None
            found += tensors
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return found


def _header(file: Path, most: int) -> tuple[bytes, int]:
    """The header, and the bytes of the file. Raises `OSError`, `ValueError`."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH), "little")
        if length > most:
            raise ValueError("no header of safetensors is so long")
        return stream.read(length), file.stat().st_size


def _tensors(header: dict[str, Any]) -> Iterator[Tensor]:
    for name, about in header.items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            if not (type(begin) is type(end) is int and 0 <= begin <= end):
                raise ValueError("a tensor lies nowhere")
            yield Tensor(name, str(about["dtype"]), end - begin)
