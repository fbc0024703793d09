"""Chooses one copy of weights that a repository has several times.

Without an index, SGLang loads all files of a format, so it would load duplicates twice. A copy
is recognized by additional words in its name: a precision, or the number of shards.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile

# The end of a shard's name. It can only begin where digits begin, so that a search is linear.
_SHARD = re.compile(r"[-_.]?(?<!\d)\d{1,9}[-_]of[-_](\d{1,9})\Z")
_WORDS = re.compile(r"[-_.]+")
# In order of preference. SGLang would need a configuration for all other number formats.
_PRECISIONS = ("bf16", "bfloat16", "fp16", "float16", "f16", "half", "fp32", "float32", "f32")
_PRECISION = re.compile(
    "|".join(_PRECISIONS) + r"|full|fp8|fp4|nf4|int8|int4|[2-8]bit|\d+g|q[2-8]|gptq|awq|bnb"
)
_SAME = frozenset({"pytorch", "safetensors", "hf"})  # words that do not mean other weights
_WHOLE = ("model",)  # the words of a name that means the whole model
# A copy in 4 bits has an eighth of the size of one in 32. A smaller file is another part of the
# model.
LEAST_SHARE = 8
_ALIKE = 100  # the sizes of identical weights differ only by their headers
_LARGE = 1 << 20  # bytes; the sizes of smaller files prove nothing
_MAX_NAMED = 3  # files in a message


class MissingWeights(UnsupportedModel):
    """An index or a shard name refers to missing weight files, or there are no weights."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file, or a set of shards."""

    files: tuple[RemoteFile, ...]
    precision: str
    shards: int = 1

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def is_whole(self) -> bool:
        return len(self.files) == self.shards

    @property
    def rank(self) -> tuple[object, ...]:
        """The sort key; the smallest is chosen. The usual copy is one file without a precision
        in its name."""
        known = self.precision in _PRECISIONS
        order = _PRECISIONS.index(self.precision) if known else len(_PRECISIONS)
        first = self.files[0].name
        return (
            *(bool(self.precision), order, self.shards > 1, self.size),
            *(len(first), first),
        )


def one_copy(
    files: Iterable[RemoteFile], suffix: str, indexed: Collection[str] = ()
) -> list[str]:
    """The names of the files that contain each weight once.

    `indexed`: the prefixes of file sets that have their own index, so that each set is a whole
    model. Raises `MissingWeights` if shards are missing and there is no other copy.
    """
    families = _families(files, suffix)
    models = {_words(stem) for stem in indexed}
    chosen = {words: _choose(copies) for words, copies in families.items()}
    whole = chosen.get(_WHOLE)
    blobs: set[tuple[str, ...]] = set()
    names: list[str] = []
    for words, copy in sorted(chosen.items(), key=lambda each: each[0] != _WHOLE):
        content = tuple(file.blob for file in copy.files)
        if content in blobs:
            continue
        if whole not in (None, copy) and (words in models or _repeats(words, copy, whole)):
            continue
        blobs.add(content)
        names += (file.name for file in copy.files)
    return sorted(names)


def _families(
    files: Iterable[RemoteFile], suffix: str
) -> Mapping[tuple[str, ...], list[_Copy]]:
    """Group the copies of the same weights, by the words in their names."""
    groups: dict[tuple[str, int], list[RemoteFile]] = defaultdict(list)
    for file in files:
        stem = file.name.removesuffix(suffix)
        groups[split_shard(stem)].append(file)
    families: dict[tuple[str, ...], list[_Copy]] = defaultdict(list)
    for (stem, count), group in groups.items():
        precision = " ".join(filter(_PRECISION.fullmatch, _WORDS.split(stem.lower())))
        families[_words(stem)].append(_Copy(tuple(group), precision, count or 1))
    return families


def split_shard(stem: str) -> tuple[str, int]:
    """A shard's name without its number, and the number of shards; 0 for another file."""
    shard = _SHARD.search(stem)
    return (stem[: shard.start()], int(shard[1])) if shard else (stem, 0)


def _words(stem: str) -> tuple[str, ...]:
    """The words in a file name that describe a part of the model."""
    words = (word for word in _WORDS.split(stem.lower()) if word and word not in _SAME)
    return tuple(word for word in words if not _PRECISION.fullmatch(word)) or _WHOLE


def _choose(copies: list[_Copy]) -> _Copy:
    if whole := [copy for copy in copies if copy.is_whole]:
        return min(whole, key=lambda copy: copy.rank)
    names = sorted(file.name for copy in copies for file in copy.files)
    raise MissingWeights(
        f"The repository lacks some of its weights: {some(names)} are there, of "
        f"{max(copy.shards for copy in copies):,} files. Ask its owner to complete it."
    )


def _repeats(words: tuple[str, ...], copy: _Copy, whole: _Copy) -> bool:
    """Whether a file is the whole model under another name (`model_ema`, `open_clip_model`).

    A part may also have `model` in its name, but it is smaller. A file with nearly the same
    size as the whole has the same weights, no matter what its name is.
    """
    if _WHOLE[0] in words and copy.size * LEAST_SHARE >= whole.size:
        return True
    return whole.size >= _LARGE and abs(copy.size - whole.size) * _ALIKE <= whole.size


def some(names: list[str]) -> str:
    """The first few names, for a message."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
