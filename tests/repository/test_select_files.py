from __future__ import annotations

import pytest

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.select_files import Selection
from router.repository.weights import Facts


def selection(*names: str, repo: str = "org/model", unsafe: bool = False) -> Selection:
    return Selection(Listing.of(RemoteFile(name, 1, name) for name in names), repo, unsafe)


def names(files: list[RemoteFile]) -> set[str]:
    return {file.name for file in files}


def weights(
    *files: str, facts: Facts | None = None, repo: str = "org/model", unsafe: bool = False
) -> set[str]:
    return names(selection(*files, repo=repo, unsafe=unsafe).weights(facts or Facts()))


def test_only_what_an_engine_opens_is_downloaded() -> None:
    needed = (
        *("config.json", "config.4.0.0.json", "tokenizer.model", "merges.txt", "vocab.json"),
        *("chat_template.jinja", "model.safetensors.index.json", "1_Pooling/config.json"),
        *("additional_chat_templates/rag.jinja", "tekken.json", "params.json", "modules.json"),
    )
    needless = (
        *("README.md", ".gitattributes", "training_config.json", "data_config.json"),
        *("eval_config.json", "trainer_state.json", "train_log.txt", "requirements.txt"),
        *("checkpoint-1/config.json", "onnx/config.json", "original/params.json"),
        *("pytorch_model.bin.index.json", "model.safetensors.index.fp32.json"),
    )
    small = selection("model.safetensors", *needed, *needless).small()
    assert names(small) == set(needed)


def test_code_comes_with_what_it_may_read() -> None:
    files = ("config.json", "modeling_own.py", "tables.json", "words.txt", "sub/tables.json")
    small = selection("model.safetensors", *files).small()
    assert names(small) == {*files} - {"sub/tables.json"}


def test_small_files_have_a_limit() -> None:
    files = [RemoteFile(f"vocab-{n}.json", 300 << 20, "b") for n in range(2)]
    chosen = Selection(Listing.of(files), "org/model", unsafe_weights=False)
    with pytest.raises(UnsupportedModel, match="tokenizer"):
        chosen.small()


def test_the_configuration_of_an_oddly_named_module_is_read_as_well() -> None:
    chosen = selection("config.json", "model.safetensors", "dense/config.json")
    assert names(chosen.small()) == {"config.json"}
    assert names(chosen.of_modules(Facts(module_folders=("dense",)))) == {"dense/config.json"}


def test_the_index_says_which_weights_there_are() -> None:
    files = ("a.safetensors", "b.safetensors", "c.safetensors", "model.safetensors.index.json")
    indexed = frozenset({"a.safetensors", "b.safetensors"})
    assert weights(*files, facts=Facts(indexed=indexed)) == indexed


def test_an_index_that_names_a_missing_file_is_refused() -> None:
    facts = Facts(indexed=frozenset({"a.safetensors", "b.safetensors"}))
    with pytest.raises(UnsupportedModel, match=r"names b\.safetensors, which"):
        weights("a.safetensors", facts=facts)


def test_an_index_of_folders_alone_names_nothing_that_an_engine_loads() -> None:
    facts = Facts(indexed=frozenset({"fp8/a.safetensors"}))
    with pytest.raises(UnsupportedModel, match=r"only in folders \(fp8\)"):
        weights("fp8/a.safetensors", "model.safetensors.index.json", facts=facts)


def test_one_copy_of_the_weights_is_taken() -> None:
    shards = {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    fewer = "model-00001-of-00003.safetensors"
    assert weights("model.safetensors", "model.fp32.safetensors", *shards) == {
        "model.safetensors"
    }
    assert weights(fewer, "model.fp32.safetensors", *shards) == shards
    assert weights("model.fp16.safetensors", "model.fp32.safetensors") == {
        "model.fp16.safetensors"
    }
    assert weights("gptq_model-4bit.safetensors") == {"gptq_model-4bit.safetensors"}


def test_weights_of_other_names_are_all_taken_as_sglang_does() -> None:
    for files in (
        ("lm_head.safetensors", "model_layers.safetensors"),
        ("model.safetensors", "vision_tower.safetensors"),
        (
            "layers-00001-of-00002.safetensors",
            "layers-00002-of-00002.safetensors",
            "e.safetensors",
        ),
        ("model-a.safetensors", "model-b.safetensors", "x.safetensors"),
    ):
        assert weights(*files, "adapter_model.safetensors", "optimizer.safetensors") == {*files}
    pickles = ("lm_head.bin", "pytorch_model_layers.bin")
    assert weights(*pickles, "training_args.bin", "openvino_model.bin", unsafe=True) == {
        *pickles
    }


def test_something_small_beside_pickles_is_not_the_model() -> None:
    files = [RemoteFile("v_head.safetensors", 1, "v"), RemoteFile("pytorch_model.bin", 99, "p")]
    allowed, forbidden = (
        Selection(Listing.of(files), "org/model", unsafe) for unsafe in (True, False)
    )
    assert names(allowed.weights(Facts())) == {"pytorch_model.bin"}
    with pytest.raises(UnsupportedModel, match=r"only as \.bin"):
        forbidden.weights(Facts())


def test_mistrals_own_format_is_taken_where_sglang_reads_it() -> None:
    both = ("model.safetensors", "consolidated.safetensors", "params.json")
    assert weights(*both) == {"model.safetensors"}
    assert weights(*both, repo="me/Mistral-Small-4-tuned") == {"consolidated.safetensors"}
    assert weights(*both[:2], repo="me/Mistral-Small-4-tuned") == {"model.safetensors"}
    assert weights("consolidated.safetensors", "params.json") == {"consolidated.safetensors"}


def test_pickles_need_the_operators_permission() -> None:
    files = ("config.json", "pytorch_model.bin", "openvino/model.safetensors", "optimizer.bin")
    with pytest.raises(UnsupportedModel, match=r"only as \.bin"):
        weights(*files)
    assert weights(*files, unsafe=True) == {"pytorch_model.bin"}
    assert weights("model.safetensors", "pytorch_model.bin", unsafe=True) == {
        "model.safetensors"
    }


def test_what_the_names_alone_show_is_refused_before_a_byte() -> None:
    for files in (("config.json", "README.md"), ("unet/x.safetensors", "model_index.json")):
        with pytest.raises(UnsupportedModel):
            selection(*files).likely_weights()
    undecided = selection("config.json", "transformer/x.safetensors")
    assert undecided.likely_weights() == []
