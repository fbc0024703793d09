"""The keys file: its valid contents, and errors that reveal none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.caller_keys import CallerKeys, KeyModels, sha256_of
from router.config.catalog import OperatorModel
from router.config.errors import SettingsError
from router.config.keys_file import parse, read
from router.models import ModelRef
from router.secrets import Secret

KEY = "billings-" * 4


def keys(text: str, **environ: str) -> CallerKeys:
    return parse(text, environ)


def test_an_entry_names_a_key_and_what_it_may_do() -> None:
    (one,) = keys(
        f"""
        keys:
        - name: billing
          key: {KEY}
          models: [acme/*, chat]
          requests_per_minute: 60
          tokens_per_minute: 10000
          max_concurrency: 4
        """
    ).keys
    assert (one.name, one.sha256, one.disabled) == ("billing", sha256_of(KEY), False)
    assert (one.requests, one.tokens, one.max_concurrency) == (60, 10000, 4)
    assert one.models == KeyModels.parse(["acme/*, chat"])


@pytest.mark.parametrize(
    "source",
    [f"key: {KEY}", "key_env: BILLING", f"sha256: {sha256_of(KEY).upper()}"],
)
def test_a_key_stands_in_the_file_in_a_variable_or_as_a_digest(source: str) -> None:
    read = keys(f"[{{name: billing, {source}}}]", BILLING=KEY)
    assert [one.sha256 for one in read.keys] == [sha256_of(KEY)]
    assert read.secrets == (() if "sha256" in source else (Secret(KEY),))


@pytest.mark.parametrize(
    ("entry", "where", "says"),
    [
        (f"key: {KEY}", ": entry 2: `name`", "a name for the caller"),
        (
            f"name: b\n  ky: {KEY}",
            ": entry 2: ",
            "API_KEYS_FILE:3: entry 2: unknown key ***: did you mean `key`?",
        ),
        ("name: b", ": entry 2: ", "one of `key`, `key_env` and `sha256`"),
        (f"name: b\n  key: {KEY}\n  key_env: A", ": entry 2: `key_env`", "API_KEYS_FILE:4: "),
        ("name: b\n  key: short", ": entry 2: `key`", "8 or more ASCII characters"),
        ("name: b\n  key: 12345678", ": entry 2: `key`", "in quotes"),
        ("name: b\n  key_env: UNSET", ": entry 2: `key_env`", "a variable that holds"),
        (f"name: b\n  sha256: {KEY}", ": entry 2: `sha256`", "64 hexadecimal digits"),
        (f"name: first\n  key: {KEY}", ": entry 2: `name`", "only one entry has"),
        (f"name: operator\n  key: {KEY}", ": entry 2: `name`", "not `operator`"),
        (f"name: b c\n  key: {KEY}", ": entry 2: `name`", "a name of 1 to 40 letters"),
        ("name: b\n  key: the-first-key", ": entry 2: `key`", "entry 1 does not have"),
        (f"name: b\n  key: {KEY}\n  models: a//b", ": entry 2: `models`", "API_KEYS_FILE:4: "),
        (
            f"name: b\n  key: {KEY}\n  requests_per_minute: 0",
            ": entry 2: `requests_per_minute`",
            "a whole number, 1 or more",
        ),
        (
            f"name: b\n  key: {KEY}\n  tokens_per_minute: [1]",
            "tokens_per_minute",
            "API_KEYS_FILE:4: ",
        ),
        (f"name: b\n  key: {KEY}\n  disabled: maybe", "disabled", "true or false"),
        (f"name: b\n  name: c\n  key: {KEY}", "API_KEYS_FILE", "twice in one entry"),
        (KEY, ": entry 2: ", "a mapping with the key `name`"),
        (f"key: *{KEY}", "API_KEYS_FILE", "undefined alias ***"),
        (f"key: !{KEY} x", "API_KEYS_FILE", "API_KEYS_FILE:2: "),
        (f"{KEY}: x", ": entry 2: ", "keys are name, key,"),
        (f'key: "{KEY}', "API_KEYS_FILE", "YAML"),
    ],
)
def test_a_mistake_is_named_by_entry_and_line_without_what_stands_there(
    entry: str, where: str, says: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        keys(f"- {{name: first, key: the-first-key}}\n- {entry}")
    told = str(refused.value)
    assert where in told
    assert says in told
    assert KEY not in told
    assert "the-first-key" not in told


@pytest.mark.parametrize("text", ["", KEY, f"{{name: a, key: {KEY}}}", f"other: [{KEY}]"])
def test_what_is_no_list_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(SettingsError, match="a list of keys") as refused:
        keys(text)
    assert KEY not in str(refused.value)


def test_a_key_of_another_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"entry 1: `key` must be .*another setting"):
        parse(f"[{{name: a, key: {KEY}}}]", {}, [Secret(KEY)])


@pytest.mark.parametrize(
    ("mode", "entry", "warns"),
    [
        (0o600, f"key: {KEY}", False),
        (0o640, f"key: {KEY}", True),
        (0o604, f"key: {KEY}", True),
        (0o644, f"sha256: {sha256_of(KEY)}", False),
    ],
)
def test_a_file_with_secrets_that_others_can_read_is_warned_of(
    tmp_path: Path, mode: int, entry: str, *, warns: bool
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"[{{name: a, {entry}}}]")
    file.chmod(mode)
    assert ("chmod 600" in read(file).warning) is warns


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"keys.yaml.*No such file"):
        read(tmp_path / "keys.yaml")


PINNED = OperatorModel(source=ModelRef("acme/chat", "v2"), aliases=("chat",))
PLAIN = OperatorModel(source=ModelRef("acme/plain"))
BAKED = OperatorModel(source=Path("/models/baked"))


@pytest.mark.parametrize(
    ("models", "operator", "ref", "allowed"),
    [
        ("acme/*", None, ModelRef("acme/one"), True),
        ("acme/*", None, ModelRef("acme/one", "refs/pr/1"), False),
        ("acme/*", None, ModelRef("other/one"), False),
        ("acme/*", PINNED, PINNED.ref, True),
        ("acme/chat@v1", PINNED, PINNED.ref, False),
        ("acme/chat@v2", PINNED, PINNED.ref, True),
        ("chat", PINNED, PINNED.ref, True),
        ("chat", PLAIN, PLAIN.ref, False),
        ("chat", None, ModelRef("acme/chat"), False),
        ("baked", BAKED, None, True),
        ("acme/*", BAKED, None, False),
        ("*", BAKED, None, True),
        ("none", PLAIN, PLAIN.ref, False),
        ("chat, other/*", None, ModelRef("other/one"), True),
    ],
)
def test_patterns_and_names_say_which_models_a_key_may_use(
    models: str, operator: OperatorModel | None, ref: ModelRef | None, *, allowed: bool
) -> None:
    assert KeyModels.parse([models]).allow(operator, ref) is allowed
