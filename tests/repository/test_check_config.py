from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UnsupportedModel
from router.repository.check_config import MAX_TOTAL_BYTES, check_config
from router.repository.read_json import MAX_FILE_BYTES
from tests import tiny_models
from tests.requests.test_call import json_values


def snapshot(tmp_path: Path, content: object, name: str = "config.json") -> Path:
    file = tmp_path / "snapshot" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return tmp_path / "snapshot"


@pytest.mark.parametrize("kind", tiny_models.Kind)
def test_a_normal_model_passes(tmp_path: Path, kind: tiny_models.Kind) -> None:
    check_config(tiny_models.make(tmp_path, "model", kind))


@pytest.mark.parametrize(
    "content",
    [
        {"_name_or_path": "/home/somebody/checkpoint-100"},
        {"text_config": {"_name_or_path": "../checkpoints"}},
        {"special_tokens_map_file": "/content/special_tokens_map.json"},
        {"tokenizer_file": "/root/.cache/tokenizer.json", "name_or_path": "/root/model"},
        {"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "org/x--m.X"}},
        {"_attn_implementation": "flash_attention_2", "attn_implementation": "eager"},
        {"chat_template": "{{ '/' }}{% for m in messages %}{{ m }}{% endfor %}"},
        {"chat_template": [{"name": "default", "template": "/think {{ x }}"}]},
        {"tokenizer_class": "LlamaTokenizer", "model_type": "llama", "pad_token": "/"},
        {"auto_map": {"AutoConfig": "org/x--configuration_x.XConfig"}, "base_model": "org/x"},
    ],
)
def test_common_values_pass(tmp_path: Path, content: dict[str, Any]) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        check_config(snapshot(tmp_path, content, name))


OUT = [
    *("/etc/passwd", "~/.ssh/id", "../other/model", "a/../../b", "..", "file:///etc/passwd"),
    *("file:/etc/passwd", "https://host.test/x", "\\\\host\\share", "C:\\x", "s3://bucket/x"),
    *(" /etc/passwd", "\n/etc/passwd", "\t~/x", " ../x", ".. ", "x\n/../../../etc/passwd"),
    *("\u2028/x", "\u2028a/../../x", "\r\nfile:/x", " C:\\x", "a\n\\..\\x", "a/..\n"),
]


@pytest.mark.parametrize("value", OUT)
@pytest.mark.parametrize(
    "key", ["vocab_file", "mm_vision_tower", "spm_file", "model_path", "tokenizer_name", "dir"]
)
def test_a_value_that_leads_out_of_the_repository_is_refused(
    tmp_path: Path, key: str, value: str
) -> None:
    for content in ({key: value}, {"text_config": {key: [value]}}):
        with pytest.raises(UnsupportedModel, match=f"config.json.*{key}"):
            check_config(snapshot(tmp_path, content))


@pytest.mark.parametrize(
    "value", ["a\nb/c", " vocab.json", "a ... b/c", "a\n", "..a/b", "a../b"]
)
def test_spaces_and_dots_alone_lead_nowhere(tmp_path: Path, value: str) -> None:
    check_config(snapshot(tmp_path, {"vocab_file": value}))


@pytest.mark.parametrize("name", ["1_Pooling/config.json", "preprocessor_config.json"])
def test_each_configuration_file_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedModel, match=name):
        check_config(snapshot(tmp_path, {"encoder_path": "/models"}, name))


def test_another_tokenizer_or_codec_is_not_taken_from_this_machine(tmp_path: Path) -> None:
    content = {"audio_tokenizer": {"audio_tokenizer_name_or_path": "/hub/models--a--b"}}
    with pytest.raises(UnsupportedModel, match="audio_tokenizer_name_or_path"):
        check_config(snapshot(tmp_path, content, "processor_config.json"))


@pytest.mark.parametrize(
    "key", ["_attn_implementation_internal", "attn_implementation", "_experts_implementation"]
)
def test_a_kernel_from_the_hub_is_code_and_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnsupportedModel, match=key):
        check_config(snapshot(tmp_path, {key: "mallory/kernel"}))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"null", b"{", b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b'{"a": nan}'),
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 5000,
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a": "' + b"x" * MAX_FILE_BYTES + b'"}',
    ],
)
def test_an_absurd_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnsupportedModel, match=r"config\.json"):
        check_config(snapshot(tmp_path, content))


@given(st.dictionaries(st.sampled_from(["a", "vocab_file", "model_path"]), json_values))
def test_any_configuration_passes_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    directory = snapshot(tmp_path_factory.mktemp("any"), content)
    with suppress(UnsupportedModel):
        check_config(directory)


@pytest.mark.parametrize(
    "content",
    [
        b'{"time_step_limit": [0.0, Infinity], "scale": -Infinity, "x": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
    ],
)
def test_what_pythons_json_accepts_is_accepted(tmp_path: Path, content: bytes) -> None:
    check_config(snapshot(tmp_path, content))


def test_the_last_of_several_keys_counts(tmp_path: Path) -> None:
    check_config(snapshot(tmp_path, b'{"vocab_file": "/etc/x", "vocab_file": "x"}'))
    with pytest.raises(UnsupportedModel, match="vocab_file"):
        check_config(snapshot(tmp_path, b'{"vocab_file": "x", "vocab_file": "/etc/x"}'))


def test_no_number_is_no_dimension(tmp_path: Path) -> None:
    for content in (b'{"hidden_size": NaN}', b'{"intermediate_size": [Infinity]}'):
        with pytest.raises(UnsupportedModel, match="_size"):
            check_config(snapshot(tmp_path, content))


def test_half_a_character_in_a_key_can_be_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        check_config(snapshot(tmp_path, b'{"\\ud800_file": "/etc/x", "\\udfff_layers": -5}'))
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data_config.json", [1]),
        ("training_config.json", {"data_path": "/data", "output_dir": "/out"}),
        ("eval_config.json", {"model_path": "/models/x"}),
        ("quantize_config.json", {"model_name_or_path": "/workspace/x", "bits": 4}),
    ],
)
def test_what_no_engine_reads_is_not_checked(
    tmp_path: Path, name: str, content: object
) -> None:
    check_config(snapshot(tmp_path, content, name))


def test_many_large_files_are_not_read(tmp_path: Path) -> None:
    files = MAX_TOTAL_BYTES // MAX_FILE_BYTES + 1
    for number in range(files):
        where = snapshot(tmp_path, {}, f"{number}/config.json")
        os.truncate(where / f"{number}/config.json", MAX_FILE_BYTES)
    with pytest.raises(UnsupportedModel, match="in all"):
        check_config(where)


@pytest.mark.parametrize(
    "content",
    [
        *(
            {"weight_map": {"a": value}}
            for value in ("/etc/x", "../x", "a/../../x", "..", "~x")
        ),
        *(b'{"weight_map": {"a": "\\u002e./x"}}', b'{"weight_map": {"a": "..\\/x"}}'),
        b'{"a": "' + b" " * ((1 << 20) - 8) + b'../x"}',
        b'{"a": "' + b" " * ((1 << 20) - 9) + b'../x"}',
    ],
    ids=lambda content: str(content)[:40],
)
def test_an_index_names_files_of_its_own_repository(tmp_path: Path, content: object) -> None:
    where = snapshot(tmp_path, content, "model.safetensors.index.json")
    with pytest.raises(UnsupportedModel, match="weight_map"):
        check_config(where)


def test_a_large_index_passes(tmp_path: Path) -> None:
    names = {f"model.layers.{n}.w..x": f"model-{n}-of-99.safetensors" for n in range(50_000)}
    content = {"metadata": {"total_size": 1}, "weight_map": names}
    check_config(snapshot(tmp_path, content, "model.safetensors.index.json"))


@pytest.mark.parametrize("key", ["mm_vision_tower", "audio_tokenizer_name_or_path", "backbone"])
def test_another_repository_is_not_loaded_with_it(tmp_path: Path, key: str) -> None:
    where = snapshot(tmp_path, {"a": [{key: "org/other"}]})
    with pytest.raises(UnsupportedModel, match=f"{key}.*another repository"):
        check_config(where)
    (where / "org/other").mkdir(parents=True)
    check_config(where)


@pytest.mark.parametrize("key", ["configuration_files", "fast_tokenizer_files"])
def test_a_version_of_a_file_lies_in_the_repository(tmp_path: Path, key: str) -> None:
    check_config(snapshot(tmp_path, {key: ["tokenizer.4.0.0.json"]}))
    with pytest.raises(UnsupportedModel, match=key):
        check_config(snapshot(tmp_path, {key: ["../../other/tokenizer.4.0.0.json"]}))


@pytest.mark.parametrize("path", ["../other", "/models", "..", "a/../../b"])
def test_a_module_lies_in_the_repository(tmp_path: Path, path: str) -> None:
    modules = [{"idx": 0, "path": "", "type": "Transformer"}, {"idx": 1, "path": "1_Pooling"}]
    check_config(snapshot(tmp_path, modules, "modules.json"))
    with pytest.raises(UnsupportedModel, match=r"modules\.json.*path"):
        check_config(snapshot(tmp_path, [{"path": path}], "modules.json"))


def test_modules_that_are_no_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"modules\.json is not a JSON array"):
        check_config(snapshot(tmp_path, {}, "modules.json"))
