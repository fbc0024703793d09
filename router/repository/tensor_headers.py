"""Reads the names, data types and sizes of the tensors in safetensors files.

Each file begins with this header, so a few kilobytes of each file describe the whole model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

MAX_HEADER = 32 << 20  # bytes of one header; the largest models have 2 MB
MAX_HEADERS = 96 << 20  # bytes of all headers; the largest models have 20 MB
_LENGTH = 8  # bytes before the header


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dtype: str  # F32, BF16, F8_E4M3, I32 ...
    size: int  # bytes


def read_tensors(files: Iterable[Path]) -> list[Tensor] | None:
    """None: the files can't be read or are invalid. Never raises for their content."""
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
    """The header, and the size of the file in bytes. Raises `OSError` or `ValueError`."""
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
