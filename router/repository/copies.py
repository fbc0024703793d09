"""Of weights that a repository holds several times, chooses one copy.

Without an index SGLang loads all files of a format, so that what is there twice would be loaded
twice. A copy is told by what its name adds to another's: a precision, the number of shards.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile

_SHARD = re.compile(r"(.*?)[-_.]?(\d+)[-_]of[-_](\d+)")
_WORDS = re.compile(r"[-_.]+")
# In order of preference. Of the numbers after these, SGLang would need a configuration.
_PRECISIONS = ("bf16", "bfloat16", "fp16", "float16", "f16", "half", "fp32", "float32", "f32")
_PRECISION = re.compile(
    "|".join(_PRECISIONS) + r"|full|fp8|fp4|nf4|int8|int4|[2-8]bit|\d+g|q[2-8]|gptq|awq|bnb"
)
_SAME = frozenset({"pytorch", "safetensors", "hf"})  # words that make no other weights
_WHOLE = ("model",)  # the words of a name that means the whole model
# A copy in four bits has an eighth of one in 32. What has less is another part of the model.
LEAST_SHARE = 8
_ALIKE = 100  # copies of the same weights differ in their headers alone
_LARGE = 1 << 20  # bytes; of small files nothing is told by their sizes
_MAX_NAMED = 3  # files in a message


class MissingWeights(UnsupportedModel):
    """Files of weights are not where others say that they are, or there are none at all."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file, or all shards of one number of them."""

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
        """The least is chosen: what has no precision in its name, in one file, is the usual."""
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
    """The names of those files that hold each weight once.

    `indexed`: how those begin that have an index of their own, so that each such set is a whole
    model. Raises `MissingWeights` where shards are missing, and no other copy is there.
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
    """The copies of the same weights, by the words of their names that tell them."""
    groups: dict[tuple[str, int], list[RemoteFile]] = defaultdict(list)
    for file in files:
        stem = file.name.removesuffix(suffix)
        shard = _SHARD.fullmatch(stem)
        groups[(shard[1], int(shard[3])) if shard else (stem, 0)].append(file)
    families: dict[tuple[str, ...], list[_Copy]] = defaultdict(list)
    for (stem, count), group in groups.items():
        precision = " ".join(filter(_PRECISION.fullmatch, _WORDS.split(stem.lower())))
        families[_words(stem)].append(_Copy(tuple(group), precision, count or 1))
    return families


def _words(stem: str) -> tuple[str, ...]:
    """What a name tells of the part of a model that is in the file."""
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

    A part may have `model` in its name as well, and is smaller. What has nearly the size of the
    whole is the same weights, whatever it is called.
    """
    if _WHOLE[0] in words and copy.size * LEAST_SHARE >= whole.size:
        return True
    return whole.size >= _LARGE and abs(copy.size - whole.size) * _ALIKE <= whole.size


def some(names: list[str]) -> str:
    """The first of them, for a message."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
