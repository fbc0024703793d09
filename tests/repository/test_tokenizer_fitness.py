from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UnsupportedModel
from router.repository.conditions import Conditions
from router.repository.tokenizer_fitness import PACKAGES, check_tokenizer
from tests.requests.test_call import json_values

ALL = Conditions(lacks=PACKAGES)


def refusal(
    tokenizer: Mapping[str, Any],
    *files: str,
    on: Conditions = ALL,
    config: Mapping[str, Any] | None = None,
) -> str:
    """The reason why it is refused; "" if it is served."""
    try:
        check_tokenizer(tokenizer, config or {}, files or ("vocab.txt",), on)
    except UnsupportedModel as error:
        return error.message
    return ""


def japanese(kind: str, **more: object) -> dict[str, object]:
    return {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": kind, **more}


@pytest.mark.parametrize(
    ("tokenizer", "package"),
    [
        (japanese("mecab"), "fugashi"),
        (japanese("sudachi"), "sudachipy"),
        (japanese("jumanpp"), "rhoknp"),
        ({"tokenizer_class": "XLMTokenizer"}, "sacremoses"),
        ({"tokenizer_class": "FlaubertTokenizer"}, "sacremoses"),
        ({"tokenizer_class": "BioGptTokenizerFast"}, "sacremoses"),
        ({"tokenizer_class": "FSMTTokenizer"}, "sacremoses"),
        ({"tokenizer_class": "RoFormerTokenizer"}, "rjieba"),
        ({"tokenizer_class": "CpmAntTokenizer"}, "rjieba"),
        ({"tokenizer_class": "CpmTokenizer"}, "rjieba"),
    ],
)
def test_a_tokenizer_whose_package_is_not_there_is_refused_with_its_name(
    tokenizer: dict[str, object], package: str
) -> None:
    for files in (("vocab.txt",), ("tokenizer.json", "vocab.txt")):
        said = refusal(tokenizer, *files)
        assert f"needs the Python package `{package}`" in said
        assert "ask the operator to install it" in said
    assert refusal(tokenizer, on=Conditions(lacks=("tiktoken",))) == ""
    assert refusal(tokenizer, on=Conditions()) == ""  # the engines' packages are unknown


def test_any_of_several_packages_will_do() -> None:
    assert refusal({"tokenizer_class": "CpmTokenizer"}, on=Conditions(lacks=("rjieba",))) == ""


def test_a_dictionary_is_a_package_as_well() -> None:
    options = {"mecab_dic": "unidic_lite"}
    on = Conditions(lacks=("unidic_lite",))
    assert "`unidic-lite`" in refusal(japanese("mecab", mecab_kwargs=options), on=on)
    assert refusal(japanese("mecab", mecab_kwargs={"mecab_dic": None}), on=on) == ""
    assert refusal(japanese("basic", mecab_kwargs=options), on=on) == ""


def test_a_package_for_what_is_switched_off_is_not_needed() -> None:
    assert refusal(japanese("mecab", do_word_tokenize=False)) == ""
    assert refusal(japanese("basic")) == ""


def test_the_type_of_the_model_names_the_tokenizer_where_nothing_else_does() -> None:
    assert "`sacremoses`" in refusal({}, config={"model_type": "biogpt"})
    own = {"tokenizer_class": "PreTrainedTokenizerFast"}
    assert refusal(own, "tokenizer.json", config={"model_type": "biogpt"}) == ""


def test_a_file_of_pieces_needs_what_reads_it_unless_it_was_converted() -> None:
    llama = {"tokenizer_class": "LlamaTokenizer"}
    assert "`protobuf`" in refusal(llama, "tokenizer.model")
    assert refusal(llama, "tokenizer.model", "tokenizer.json") == ""
    assert refusal(llama, "tokenizer.model", on=Conditions(lacks=("google.protobuf",))) == ""
    marian = {"tokenizer_class": "MarianTokenizer"}
    assert "`sentencepiece`" in refusal(marian, "source.spm", "vocab.json")
    assert "`mistral_common`" in refusal({}, "tekken.json")
    assert refusal({}, "tekken.json", "tokenizer.json") == ""


def test_code_of_its_own_that_may_run_reads_what_it_likes() -> None:
    own = {"tokenizer_class": "XTokenizer", "auto_map": {"AutoTokenizer": ["t.X", None]}}
    on = Conditions(lacks=PACKAGES, flags=("--trust-remote-code",))
    assert refusal(own, "tokenizer.model", on=on) == ""


@given(json_values, json_values)
def test_whatever_the_files_hold_it_is_served_or_refused(one: object, two: object) -> None:
    tokenizer = {"tokenizer_class": one, "word_tokenizer_type": two, "mecab_kwargs": one}
    for config in ({"model_type": two}, {}):
        refusal(tokenizer, config=config)
        refusal(japanese("mecab", mecab_kwargs={"mecab_dic": two}), config=config)


@given(st.sets(st.sampled_from(PACKAGES)))
def test_what_is_there_is_never_asked_for(lacks: set[str]) -> None:
    on = Conditions(lacks=tuple(sorted(lacks)))
    for name in ("Cpm", "XLM", "BertJapanese", "Llama"):
        said = refusal({"tokenizer_class": f"{name}Tokenizer"}, "tokenizer.model", on=on)
        assert not said or any(one.partition(".")[2] in said or one in said for one in lacks)
