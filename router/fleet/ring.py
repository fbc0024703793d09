"""Consistent hashing: assigns names to members, and moves few when members change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from hashlib import blake2b

_POINTS = 64  # per member; shares then differ by about an eighth


def hashed(text: str) -> int:
    """A hash of 64 bits, the same in every process."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Ring:
    """Members on a ring. A member that joins or leaves moves only its own share of names."""

    def __init__(self) -> None:
        self._points: list[tuple[int, str]] = []

    def add(self, member: str) -> None:
        for number in range(_POINTS):
            insort(self._points, (hashed(f"{member}#{number}"), member))

    def remove(self, member: str) -> None:
        self._points = [point for point in self._points if point[1] != member]

    def walk(self, place: int) -> Iterator[str]:
        """Each member once, starting at the hash `place`."""
        points = self._points
        count = len(points)
        first = bisect_left(points, (place, ""))
        seen: set[str] = set()
        for step in range(count):
            member = points[(first + step) % count][1]
            if member not in seen:
                seen.add(member)
                yield member
