from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UnsupportedModel
from router.repository.copies import one_copy, split_shard
from router.repository.files import RemoteFile

SAFE = ".safetensors"


def chosen(**sizes: int) -> set[str]:
    """The chosen files, by their stems. Two underscores mean a dot, as in `model__fp16`."""
    return {name.removesuffix(SAFE) for name in one_copy(files(sizes), SAFE)}


def files(sizes: dict[str, int]) -> list[RemoteFile]:
    return [
        RemoteFile(stem.replace("__", ".") + SAFE, size, f"content of {stem}")
        for stem, size in sizes.items()
    ]


def test_a_copy_in_another_precision_is_left_out() -> None:
    assert chosen(model=100, model_fp32=200, model__fp16=100, model_int8=50) == {"model"}
    assert chosen(model_fp32=200, model__fp16=100, model_bf16=100) == {"model_bf16"}
    assert chosen(gptq_model_4bit_128g=25, pytorch_model=100) == {"pytorch_model"}
    assert chosen(fp16=100, fp32=200) == {"fp16"}


def test_each_part_is_taken_in_one_copy() -> None:
    parts = {"layers_fp32": 200, "layers_bf16": 100, "head_fp32": 20, "head_bf16": 10}
    assert chosen(**parts) == {"layers_bf16", "head_bf16"}


def test_the_model_under_another_name_is_left_out_and_a_part_of_it_is_not() -> None:
    assert chosen(model=100, model_ema=100, model_v2=101, model_4bit=25) == {"model"}
    assert chosen(model=100, model_mtp=5, lm_head=12) == {"model", "model_mtp", "lm_head"}


def test_another_file_of_the_same_size_is_the_model_again() -> None:
    large = 10**7
    assert chosen(model=large, open_clip_model=large + 9, merged=large - 9) == {"model"}
    assert chosen(model=large, merged=large // 2) == {"model", "merged"}
    assert chosen(model=1, merged=1) == {"model", "merged"}  # too small to tell
    assert chosen(language_model=1000, vision_model=1000) == {"language_model", "vision_model"}


def test_shards_with_an_index_of_their_own_are_another_whole_model() -> None:
    shards = {f"transformers-{n}-of-2": 50 for n in (1, 2)}
    both = files({"model": 80, **shards})
    assert one_copy(both, SAFE, ["transformers"]) == ["model.safetensors"]
    assert len(one_copy(both, SAFE)) == 3
    assert len(one_copy(both[1:], SAFE, ["transformers"])) == 2


def test_the_same_content_is_taken_once() -> None:
    twice = [RemoteFile(name + SAFE, 9, "one blob") for name in ("weights", "model", "copy")]
    assert one_copy(twice, SAFE) == ["model.safetensors"]


def test_complete_shards_are_preferred_and_incomplete_ones_are_refused() -> None:
    shards = {f"w-{n}-of-2": 5 for n in (1, 2)}
    assert {*one_copy(files({**shards, "w-1-of-3": 3}), SAFE)} == {f"{s}{SAFE}" for s in shards}
    with pytest.raises(UnsupportedModel, match=r"w-1-of-3\.safetensors are there, of 3 files"):
        one_copy(files({"w-1-of-3": 3, "lm_head": 1}), SAFE)


WORDS = st.lists(
    st.sampled_from(
        ["model", "fp16", "fp32", "ema", "head", "00001-of-00001", "1-of-2", "2-of-2", "", "x"]
    ),
    min_size=1,
    max_size=4,
)


PIECES = ["-", "_", ".", "of", "model", "1", "23"]


@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
def test_the_end_of_a_shards_name_is_its_number_and_their_count(stem: str) -> None:
    # In quadratic time.
    shard = re.fullmatch(r"(.*?)[-_.]?(\d+)[-_]of[-_](\d+)", stem)
    assert split_shard(stem) == ((shard[1], int(shard[3])) if shard else (stem, 0))


def test_an_absurd_count_is_part_of_a_name() -> None:
    stem = "1-of-" + "1" * 5000  # Python would refuse to read it
    assert split_shard(stem) == (stem, 0)


@given(st.dictionaries(WORDS.map("-".join), st.integers(0, 1000), max_size=8))
def test_some_of_the_files_are_chosen_whatever_they_are_called(sizes: dict[str, int]) -> None:
    try:
        names = one_copy(files(sizes), SAFE)
    except UnsupportedModel:
        return
    assert {*names} <= {stem + SAFE for stem in sizes}
    assert bool(names) is bool(sizes)
    assert one_copy([f for f in files(sizes) if f.name in names], SAFE) == names
