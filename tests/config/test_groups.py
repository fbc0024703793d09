"""Groups and limits of models in the models file."""

from __future__ import annotations

import pytest

from router.config.catalog import engine_spec
from router.config.errors import SettingsError
from router.config.models_file import parse
from router.config.settings import Settings
from router.models import ModelGroup, ResolvedModel

ALONE = "groups: {g: {exclusive: true}}\nmodels: "


def groups_of(text: str) -> list[ModelGroup | None]:
    return [model.group for model in parse(text)]


def test_a_group_that_is_only_named_has_one_model_at_a_time() -> None:
    text = "[{model: org/a, group: large}, {model: org/b, group: large}, {model: org/c}]"
    assert groups_of(text) == [ModelGroup("large", 1), ModelGroup("large", 1), None]


def test_a_group_may_say_how_many_and_that_it_is_alone() -> None:
    text = """
groups:
  chat: {max_loaded: 2}
  video: {exclusive: true}
  spare:
models:
- {model: org/a, group: chat}
- {model: org/b, group: video}
- {model: org/c, group: spare}
"""
    expected = [
        ModelGroup("chat", 2),
        ModelGroup("video", 1, exclusive=True),
        ModelGroup("spare"),
    ]
    assert groups_of(text) == expected


def test_an_engine_has_the_rules_of_its_entry() -> None:
    (entry,) = parse("[{model: org/a, group: g, max_concurrency: 2, max_queue: 5}]")
    spec = engine_spec(ResolvedModel("org/a", "c" * 40), entry, Settings.from_environ({}))
    assert (spec.group, spec.max_concurrency, spec.max_queue) == (ModelGroup("g"), 2, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "groups: {a: }\nmodels:\n- {model: org/a, group: b}",
            "MODELS_CONFIG:3: entry 1 (org/a): `group` is 'b'",
        ),
        ("models: []\ngroups:\n  a: {max_loaded: 0}", ":3: groups: 'a': `max_loaded` is 0"),
        ("models: []\ngroups:\n  a: {exclusiv: 1}", "did you mean `exclusive`?"),
        ("models: []\ngroups: [a]", "`groups` must be a mapping of names, not a list"),
        ("models: []\ngroups: {a: 3}", ":2: groups: 'a': it must be a mapping"),
        ("models: []\ngroups: {1: }", "a letter first"),
        ("groups: {}", "a list of models, not a mapping"),
        ("[{model: org/a, group: no spaces}]", "1 to 40 letters"),
        ("[{model: org/a, max_queue: 0}]", "`max_queue` is 0"),
        ("[{model: org/a, max_concurrency: many}]", "`max_concurrency` is 'many'"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as failed:
        parse(text)
    assert len(failed.value.problems) == 1
    assert says in str(failed.value)


def test_mistakes_of_groups_and_models_are_told_at_once() -> None:
    text = "groups: {a: {max_loaded: x}}\nmodels:\n- {model: org/a, max_queue: y, group: a}"
    with pytest.raises(SettingsError) as failed:
        parse(text)
    assert len(failed.value.problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        "[{model: org/a, group: g, pin: true}, {model: org/b, group: g}]",
        ALONE + "[{model: org/a, group: g}, {model: org/b, pin: true}]",
        ALONE + "[{model: org/a, group: g, pin: true}, {model: org/b}]",
    ],
    ids=["a full group", "beside an exclusive group", "in an exclusive group"],
)
def test_a_pin_that_keeps_others_of_a_group_out_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"`pin` must be false: the group `g`"):
        parse(text)


def test_a_pin_that_leaves_a_place_is_taken() -> None:
    parse("""
groups: {g: {max_loaded: 2}}
models:
- {model: org/a, group: g, pin: true}
- {model: org/b, group: g}
- {model: org/c, group: g}
- {model: org/d, pin: true}
""")
