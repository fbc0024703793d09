"""JSON that contains text from strangers."""

from __future__ import annotations

import json

from router.admin.json_text import to_json


def test_what_can_be_written_is_written_as_it_is() -> None:
    assert (
        to_json({"text": "é", "none": None, "size": 3})
        == '{"text":"é","none":null,"size":3}'.encode()
    )


def test_half_a_character_hides_nothing_else() -> None:
    shown = {"events": [{"text": "the folder \ud800/x"}, {"text": "é"}], "key\udfff": ("a",)}
    assert json.loads(to_json(shown)) == {
        "events": [{"text": "the folder \\ud800/x"}, {"text": "é"}],
        "key\\udfff": ["a"],
    }


def test_a_number_that_is_too_long_is_shown_as_text() -> None:
    assert json.loads(to_json({"total": 10**30, "done": 2, "flag": True})) == {
        "total": "1" + "0" * 30,
        "done": 2,
        "flag": True,
    }
