from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile
from router.repository.listing import MAX_FILES, Listing

WEIGHTS = RemoteFile("model.safetensors", 1, "a" * 64)


@pytest.mark.parametrize(
    "name",
    [
        *("../config.json", "a/../../x.json", "/etc/x.json", "a//x.json", "./x.json", ".."),
        *("a\\..\\x.json", "x\0.json", "x\n.json", "x" * 513, "x\ud800.json"),
    ],
)
def test_a_name_that_is_not_safe_on_disk_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedModel, match="name"):
        Listing.of([WEIGHTS, RemoteFile(name, 1, "b" * 40)])


@pytest.mark.parametrize(
    "name", ["config.json", "1_Pooling/config.json", "a..b.json", "é.json"]
)
def test_other_names_are_taken(name: str) -> None:
    file = RemoteFile(name, 1, "b" * 40)
    assert list(Listing.of([WEIGHTS, file]).files.values()) == [WEIGHTS, file]


def test_a_listing_without_an_end_is_refused() -> None:
    def endless() -> Iterator[RemoteFile]:
        for number in itertools.count():
            assert number <= MAX_FILES
            yield RemoteFile(f"{number}.safetensors", 1, "a" * 64)

    with pytest.raises(UnsupportedModel, match="files"):
        Listing.of(endless())
