from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from router.repository.chat_template import reranks, template_in, template_of
from tests.requests.test_call import json_values

JUDGE = 'Note that the answer can only be "yes" or "no".'
OURS = JUDGE + """ {{ messages[0]["content"] }} {{ messages[1]["content"] }}"""


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (OURS, True),
        (OURS.upper(), True),
        (JUDGE + "<|vision_start|>{{ query }} {{ document }}", True),
        ("{{ messages }}", False),
        ("the answer can only be one of yes and no", False),
        # With these, SGLang would score an empty query and an empty document.
        (JUDGE + """{{ messages | selectattr("role", "eq", "query") }}""", False),
        (JUDGE + """{% if message.role == 'document' %}""", False),
        (None, False),
        ([{"name": "default", "template": OURS}], False),
    ],
)
def test_sglang_reranks_where_the_template_asks_for_yes_or_no(
    template: object, expected: bool
) -> None:
    assert reranks(template) is expected


def test_a_file_of_its_own_comes_before_the_tokenizers(tmp_path: Path) -> None:
    assert template_of(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "a"}))
    assert template_of(tmp_path) == "a"
    (tmp_path / "chat_template.jinja").write_text("b")
    assert template_of(tmp_path) == "b"


@pytest.mark.parametrize("content", [b"\xff", b"x" * (1 << 20) + b"x"])
def test_a_template_that_can_not_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(content)
    assert template_of(tmp_path) is None


def test_what_the_hub_says_is_as_the_files_are() -> None:
    inside = {"tokenizer_config": {"chat_template": "a"}}
    assert template_in(inside) == "a"
    assert template_in({**inside, "chat_template_jinja": "b"}) == "b"
    assert template_in({}) is template_in({"tokenizer_config": "odd"}) is None


@given(json_values)
def test_any_template_reranks_or_does_not(template: object) -> None:
    assert reranks(template) in (True, False)
