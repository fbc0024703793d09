from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.catalog import Catalog, OperatorModel, engine_spec
from router.config.models_file import parse
from router.config.models_schema import ModelEntry, schema
from router.config.operator_models import catalog
from router.config.parsers import as_size
from router.config.patterns import Patterns
from router.config.settings import Settings, SettingsError
from router.models import Access, EngineSpec, ModelRef, ResolvedModel, Task


def settings(**environ: str) -> Settings:
    return Settings.from_environ(environ)


def read(text: str, **environ: str) -> Catalog:
    return catalog(settings(MODELS_CONFIG=text, **environ))


def source_of(model: OperatorModel | None) -> str | None:
    return None if model is None else str(model.source)


FULL = """
- model: org/name@v1
  aliases: [small, gpt-4o-mini]
  flags: {context-length: 8192, enable_metrics: true, log-requests: false, lora-paths: [a, b]}
  task: embed
  pin: true
  preload: yes
  idle_ttl: 300
  memory: 20GiB
  token_env: ORG_TOKEN
  trust_remote_code: true
"""


def test_an_entry_is_read_whole() -> None:
    assert parse(FULL) == [
        OperatorModel(
            source=ModelRef("org/name", "v1"),
            aliases=("small", "gpt-4o-mini"),
            flags=(
                *("--context-length", "8192", "--enable-metrics"),
                *("--lora-paths", "a", "b"),
            ),
            task=Task.EMBED,
            pinned=True,
            preload=True,
            idle_ttl=300,
            memory=20 * 2**30,
            token_env="ORG_TOKEN",
            trust_remote_code=True,
        )
    ]


def test_a_key_without_a_value_counts_as_absent() -> None:
    empty = "\n".join(f"  {key}:" for key in ModelEntry.model_fields if key != "model")
    assert parse(f"- model: org/name\n{empty}", 60) == parse("- model: org/name", 60)


def test_the_schema_for_editors_has_every_key_and_refuses_others() -> None:
    entry = schema()["$defs"]["ModelEntry"]
    assert set(entry["properties"]) == set(ModelEntry.model_fields)
    assert entry["required"] == ["model"]
    assert entry["additionalProperties"] is False
    assert all(one["description"].endswith(".") for one in entry["properties"].values())


@given(st.from_regex(r"[0-9.]{1,4} ?[KMGTBkbiIx]{0,3}", fullmatch=True))
def test_the_schema_takes_the_sizes_that_the_worker_takes(text: str) -> None:
    (pattern,) = (
        one["pattern"]
        for one in schema()["$defs"]["ModelEntry"]["properties"]["memory"]["anyOf"]
        if "pattern" in one
    )
    with suppress(ValueError):
        as_size(text)
        assert re.fullmatch(pattern, text)
    if re.fullmatch(pattern, text):
        as_size(f"1{text}")  # an editor can't see that 0.00B is nothing


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--dtype half --chat-template 'a b'", ("--dtype", "half", "--chat-template", "a b")),
        ("[--mem-fraction-static, 0.8]", ("--mem-fraction-static", "0.8")),
        ('{model-override-args: {"a": 1}}', ("--model-override-args", '{"a": 1}')),
        ("{--dtype: half}", ("--dtype", "half")),
        ('{json: "{\\n\\t1: 2}"}', ("--json", "{\n\t1: 2}")),
    ],
)
def test_flags_may_be_a_line_a_list_or_a_mapping(flags: str, expected: tuple[str, ...]) -> None:
    (model,) = parse(f"- model: org/name\n  flags: {flags}")
    assert model.flags == expected


def test_the_config_may_be_text_or_the_path_of_a_file(tmp_path: Path) -> None:
    text = "models: [{model: org/name, aliases: small}]"
    file = tmp_path / "models.yaml"
    file.write_text(text)
    for written in (text, str(file)):
        assert source_of(read(written).lookup("small")) == "org/name"


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("just words", ":", "list of models, not text"),
        ("[", ":1", "this is not YAML"),
        ("!!python/object/apply:os.system ['true']", ":1", "not YAML"),
        ("[org/name]", ":1: entry 1", "a mapping with the key `model`, not text"),
        ("[{aliases: [x]}]", ":1: entry 1", "`model` is missing: org/name"),
        (
            "[{model: a/b}, {model: name}]",
            ":1: entry 2 (name)",
            "`model` is 'name', and must be",
        ),
        ("[{model: ./models/x}]", ":1: entry 1", "absolute path"),
        ("[{model: org/name, revision: a..b}]", ":1: entry 1", "revision"),
        ("[{model: org/name,\n revision: 2024-01-01}]", ":2: entry 1 (org/name)", "quotes"),
        ("[{model: org/name, alias: x}]", "'alias'", "did you mean `aliases`?"),
        ("[{model: org/name, aliases: [1]}]", "`aliases` must be", "quotes"),
        ("[{model: org/name, task: dance}]", "`task` is 'dance'", "generate"),
        ("[{model: org/name, memory: much}]", "`memory` is 'much'", "20GiB"),
        ("[{model: org/name, memory: 40}]", "`memory` is 40", "unit: add one, such as 40GiB"),
        ("[{model: org/name, memory: 0}]", "`memory` is 0", "above 0"),
        ("[{model: org/name, 7: x}]", "entry 1 (org/name)", "unknown key '7': keys are model,"),
        ("[{modl: org/name}]", ":1: entry 1: unknown key 'modl'", "did you mean `model`?"),
        ("[{model: a/b}, {model: c/d, alais: x}]", "entry 2 (c/d)", "did you mean `aliases`?"),
        ("[{model: org/name, memory: [1]}]", "`memory` must be", "single value"),
        ("[{model: org/name, pin: perhaps}]", "`pin` is 'perhaps'", "true or false"),
        ("[{model: org/name, flags: [dtype]}]", "`flags` must be", "--flag"),
        ("[{model: org/name, flags: {a: 2024-01-01}}]", "`flags` must be", "numbers"),
        ('[{model: a/b, flags: ["--x", "a\\0b"]}]', "`flags` must be", "control characters"),
        ('[{model: a/b, flags: {x: "\\e[2J"}}]', "`flags` must be", "control characters"),
        ('[{model: a/b, flags: "--x \\ud800"}]', "`flags` is", "lone surrogates"),
        ('[{model: a/b, flags: {"x\\0": y}}]', "`flags` must be", "control characters"),
        ("- model: a/b\n  pin: true\n  model: c/d", ":3", "the key 'model' appears twice"),
        (
            "- {model: a/b, aliases: x}\n- {model: c/d, aliases: x}",
            ":2: entry 2 (c/d)",
            "the name x is already that of {file}:1: entry 1 (a/b)",
        ),
        ("[{model: a/b}, {model: A/B}]", "entry 2 (A/B)", "the name A/B is already that of"),
        ("- {model: a/b}\n" + "#" * 300_000, ":", "at most"),
        ("- model: a/b\n  revision: 2024-02-30", ":2", "looks like a date, but is not one"),
        (
            "- model: a/b\n  max_queue: " + "9" * 5000,
            ":2",
            "looks like a number, but is not one",
        ),
        ("[{model: a/b, pin: !!bool perhaps}]", ":1", "put it in quotes"),
        ("[{model: a/b, flags: {json: {on: 2024-01-01}}}]", "`flags` must be", "JSON"),
        ("[&a {model: a/b, flags: *a}]", "`flags` must be", "JSON"),
        ('[{model: "/models/\\0"}]', "`model` is", "without control characters"),
        ('[{model: a/b, aliases: ["one\\ntwo"]}]', "`aliases` must be", "one line"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    text: str, at: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(text)
    for written, name in ((str(file), str(file)), (text + "\n", "MODELS_CONFIG")):
        with pytest.raises(SettingsError) as refused:
            read(written)
        (told,) = refused.value.problems
        assert told.startswith(f"{name}:")
        assert at in told
        assert says.replace("{file}", name) in told


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^/does/not/exist.yaml: .*MODELS_CONFIG.*No such"):
        read("/does/not/exist.yaml")


def test_a_file_that_is_not_in_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_bytes(b"- model: a/\xff")
    with pytest.raises(SettingsError, match=r"models.yaml: .*it is not in UTF-8"):
        read(str(file))


def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "models.yaml"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="it is not a regular file"):
        read(str(pipe))


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines() -> None:
    with pytest.raises(SettingsError) as refused:
        read("- modl: a/b\n  memory: 40\n- model: c/d\n  pin: perhaps\n- just words\n")
    places = [told.split(" ")[0] for told in refused.value.problems]
    assert places == [f"MODELS_CONFIG:{line}:" for line in (1, 2, 4, 5)]


def test_of_very_many_mistakes_the_rest_is_counted() -> None:
    with pytest.raises(SettingsError) as refused:
        read("\n".join(["- x"] * 50))
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1].startswith("and 30 more")


@pytest.mark.parametrize(
    "text",
    [
        "{secret}",
        "[{secret}]",
        "a: [x\n{secret}: y",
        "- model: *{secret}",
        "- model: !{secret} x",
        "- [model: {secret}",
        "- model: a/b\n  flags: [{secret}]",
        "- model: a/b\n  flags: {{dtype: [{{a: {secret}}}]}}",
    ],
)
def test_what_stands_in_a_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(text.format(secret="opensesame") + "\n")
    assert "opensesame" not in str(refused.value)


def test_a_token_written_into_the_file_is_not_repeated() -> None:
    token = "hf_" + "a1" * 16
    for text in (f"[{{model: org/name, {token}: 1}}]", f"[{{model: {token}}}]", f"{{{token}"):
        with pytest.raises(SettingsError) as refused:
            read(text)
        assert token not in str(refused.value)


def test_an_alias_is_compared_exactly_and_before_any_id() -> None:
    models = read("[{model: org/name, aliases: [small, other/name]}, {model: third/name}]")
    assert source_of(models.lookup("small")) == "org/name"
    assert source_of(models.lookup("other/name")) == "org/name"
    assert models.lookup("Small") is None
    assert models.lookup("other/Name") is None


@pytest.mark.parametrize(
    ("entry", "asked", "found"),
    [
        ("org/name", "org/name", True),
        ("org/name", "ORG/Name", True),
        ("org/name", "org/name@main", True),
        ("org/name", "org/name@v1", False),
        ("org/name", "org/name@refs/pr/1", False),
        ("org/name", "org/name@", False),
        ("org/name@v1", "org/name", True),
        ("org/name@v1", "org/NAME@v1", True),
        ("org/name@v1", "org/name@V1", False),
        ("org/name@v1", "org/name@main", False),
        ("org/name", "org/other", False),
        ("org/kite", "org/\u212aite", False),
    ],
)
def test_an_id_is_found_for_its_configured_revision_or_none(
    entry: str, asked: str, found: bool
) -> None:
    models = read(f"[{{model: '{entry}', aliases: [x]}}]")
    assert source_of(models.lookup(asked)) == (entry if found else None)


def test_two_revisions_of_one_repository_are_two_models() -> None:
    models = read("[{model: org/name@v2}, {model: org/name}]")
    assert source_of(models.lookup("org/name")) == "org/name"
    assert source_of(models.lookup("org/name@v2")) == "org/name@v2"
    assert names(models) == ("org/name@v2", "org/name")


def test_a_former_name_leads_to_the_operators_model_once_it_is_resolved() -> None:
    models = read("[{model: new/name, trust_remote_code: true}]")
    assert models.lookup("old/name") is None
    assert source_of(models.match(ModelRef("New/Name"))) == "new/name"
    assert models.match(ModelRef("new/name", "refs/pr/1")) is None


def test_only_the_operator_can_name_a_path(tmp_path: Path) -> None:
    models = read(f"[{{model: {tmp_path}}}]")
    model = models.lookup(tmp_path.name)
    assert model is not None
    assert model.ref is None
    assert names(models) == (tmp_path.name,)
    assert models.lookup(str(tmp_path)) is None
    local = model.local()
    assert local is not None
    assert (local.access, local.path) == (Access.LOCAL, tmp_path)
    assert str(tmp_path) not in str(local)


def test_a_directory_is_judged_unless_the_operator_names_its_task(tmp_path: Path) -> None:
    models = read(
        f"[{{model: {tmp_path}}}, {{model: /x, task: classify}}, {{model: org/name}}]"
    )
    judged = Catalog(models.models, models.models[0]).judged(
        lambda path: Task.EMBED if path == tmp_path else Task.GENERATE
    )
    assert [model.task for model in judged.models] == [Task.EMBED, Task.CLASSIFY, None]
    assert judged.default is judged.models[0]
    assert (local := judged.models[0].local()) is not None
    assert local.task is Task.EMBED


def test_no_operator_can_name_a_task_that_no_route_serves() -> None:
    with pytest.raises(SettingsError, match="must be one of generate, embed, classify"):
        read("[{model: org/name, task: transcribe}]")


@given(st.text())
def test_looking_up_any_text_is_safe(name: str) -> None:
    models = Catalog([OperatorModel(source=ModelRef("org/name"))])
    assert models.lookup(name) is None or name.lower().startswith("org/name")


def test_the_default_model_comes_from_the_environment() -> None:
    models = catalog(
        settings(
            MODEL_NAME="org/name",
            MODEL_REVISION="v1",
            SERVED_MODEL_NAME="a,b",
            MODEL_IDLE_TTL="9",
        )
    )
    assert models.default is not None
    assert models.default == OperatorModel(
        source=ModelRef("org/name", "v1"), aliases=("a", "b"), preload=True, idle_ttl=9
    )
    assert names(models) == ("a",)
    assert models.lookup("b") is models.lookup("org/name") is models.default


def test_a_revision_in_the_default_name_wins() -> None:
    models = catalog(settings(MODEL_NAME="org/name@v2", MODEL_REVISION="v1"))
    assert source_of(models.default) == "org/name@v2"
    listed = "[{model: org/name@v2, pin: true}]"
    models = read(listed, MODEL_NAME="org/name@v2", MODEL_REVISION="v1")
    assert models.default is not None
    assert models.default.pinned


@pytest.mark.parametrize("name", ["small", "org/name", "ORG/name"])
def test_the_default_may_be_an_entry_of_the_file(name: str) -> None:
    text = "[{model: a/b}, {model: org/name, aliases: [small], pin: true}]"
    models = read(text, MODEL_NAME=name, SERVED_MODEL_NAME="gpt")
    assert models.default is not None
    assert models.default.pinned
    assert models.default.preload
    assert models.default.aliases == ("small", "gpt")
    assert models.default is models.lookup("small") is models.lookup("gpt")
    assert names(models) == ("a/b", "small")


def test_another_revision_of_an_entry_is_another_default() -> None:
    text = "[{model: org/name, trust_remote_code: true}]"
    models = read(text, MODEL_NAME="org/name", MODEL_REVISION="v1")
    assert source_of(models.default) == "org/name@v1"
    assert models.default is not None
    assert not models.default.trust_remote_code


def test_without_a_name_there_is_no_default() -> None:
    assert catalog(settings()).default is None
    assert read("[{model: a/b}]").default is None


def test_a_default_that_is_no_name_is_an_error_of_its_variable() -> None:
    with pytest.raises(SettingsError) as refused:
        catalog(settings(MODEL_NAME="llama"))
    assert refused.value.key == "MODEL_NAME"


def test_an_entry_without_an_idle_ttl_has_the_workers() -> None:
    text = "[{model: a/b}, {model: c/d, idle_ttl: off}, {model: e/f, idle_ttl: 5}]"
    models = read(text, MODEL_IDLE_TTL="60").models
    assert [model.idle_ttl for model in models] == [60, None, 5]


def names(models: Catalog) -> tuple[str, ...]:
    return tuple(model.name for model in models.models)


PUBLIC = ResolvedModel("org/name", "0" * 40)
GATED = ResolvedModel("org/name", "0" * 40, access=Access.GATED)


def test_an_operators_engine_is_started_as_the_operator_wrote() -> None:
    (operator,) = parse(FULL)
    assert engine_spec(PUBLIC, operator, settings(), ("--dtype", "auto")) == EngineSpec(
        ResolvedModel("org/name", "0" * 40, Task.EMBED),
        flags=("--dtype", "auto", *operator.flags, "--trust-remote-code"),
        listed=True,
        memory=20 * 2**30,
        pinned=True,
        idle_ttl=300,
    )


@pytest.mark.parametrize("flag", ["--trust-remote-code", "--trust_remote_code", "--trust"])
def test_a_strangers_model_never_runs_its_own_code(flag: str) -> None:
    spec = engine_spec(PUBLIC, None, settings(MODEL_IDLE_TTL="7"), (flag, "--dtype", "auto"))
    assert spec == EngineSpec(PUBLIC, flags=("--dtype", "auto"), idle_ttl=7)


@pytest.mark.parametrize(
    ("access", "private_ttl", "any_ttl", "expires"),
    [
        (Access.PRIVATE, "60", "off", 60),
        (Access.PRIVATE, "60", "30", 30),
        (Access.PRIVATE, "off", "90", 90),
        (Access.PUBLIC, "60", "off", None),
        (Access.GATED, "60", "off", None),
    ],
)
def test_a_callers_private_model_does_not_stay_for_ever(
    access: Access, private_ttl: str, any_ttl: str, expires: float | None
) -> None:
    ours = settings(PRIVATE_IDLE_TTL=private_ttl, MODEL_IDLE_TTL=any_ttl)
    assert engine_spec(replace(PUBLIC, access=access), None, ours).idle_ttl == expires


@pytest.mark.parametrize("task", Task)
def test_strictly_isolated_a_prefix_cache_is_kept_only_where_there_is_a_salt(
    task: Task,
) -> None:
    strict = settings(STRICT_CACHE_ISOLATION="1")
    flags = () if task is Task.GENERATE else ("--disable-radix-cache",)
    entry = OperatorModel(source=ModelRef("org/name"), task=task)
    assert engine_spec(PUBLIC, entry, strict).flags == flags
    assert engine_spec(replace(PUBLIC, task=task), None, strict).flags == flags


@pytest.mark.parametrize(
    ("model", "entry", "environ", "gets"),
    [
        (GATED, OperatorModel(source=ModelRef("org/name")), {}, True),
        (PUBLIC, OperatorModel(source=ModelRef("org/name")), {}, False),
        (GATED, None, {}, False),
        (GATED, OperatorModel(source=ModelRef("org/name")), {"ENGINE_HF_TOKEN": "0"}, False),
        (GATED, OperatorModel(source=ModelRef("org/name")), {"HF_TOKEN": ""}, False),
        (GATED, OperatorModel(source=ModelRef("org/name"), token_env="T"), {}, False),
    ],
)
def test_an_engine_sees_the_workers_token_only_where_it_needs_it(
    model: ResolvedModel, entry: OperatorModel | None, environ: dict[str, str], gets: bool
) -> None:
    spec = engine_spec(model, entry, settings(**({"HF_TOKEN": "x" * 20} | environ)))
    assert spec.hf_token is gets


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ("*", "org/name@refs/pr/1", True),
        ("org/name", "org/name", True),
        ("org/name", "ORG/NAME", True),
        ("org/name", "org/name@main", True),
        ("org/name", "org/name@v1", False),
        ("org/name@*", "org/name@refs/pr/1", True),
        ("org/name@*", "org/name", True),
        ("org/name@v*", "org/name@v1", True),
        ("org/name@v*", "org/name", False),
        ("org/name@v1", "org/name@V1", False),
        ("org/*", "org/name", True),
        ("org/*", "org/name@v1", False),
        ("org/*@*", "org/name@v1", True),
        ("org/*", "organ/name", False),
        ("*/*-gguf", "a/b-GGUF", True),
        ("*/*", "a/b@v1", False),
        ("a/b, c/d", "c/d", True),
        ("a.c/d", "abc/d", False),
        ("*@v1", "a/b@v1", True),
        ("none", "a/b", False),
    ],
)
def test_patterns_mean_the_default_revision_unless_they_opt_in(
    patterns: str, name: str, allowed: bool
) -> None:
    assert Patterns.parse(patterns).allow(ModelRef.parse(name)) is allowed


def test_a_pattern_covers_a_repository_whatever_the_revision() -> None:
    assert Patterns.parse("org/*").cover("Org/name")
    assert Patterns.parse("*").cover("org/name")
    assert not Patterns.parse("org/*,none/x").cover("other/name")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- model: a/b\n  pin: true\n- model: c/d\n  memory: 20\n", 4),
        ("models:\n- model: a/b\n  pin: maybe\n", 3),
        ("- model: a/b\n\n\n- pin: true\n", 4),
        ("- model: a/b\n- model: c/d\n  size: 1\n", 3),
        ("- model: a/b\n- c/d\n", 2),
        ("- model: a/b\n- pin: true\n  model: c\n", 3),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(SettingsError, match=f"^MODELS_CONFIG:{line}: "):
        read(text)
