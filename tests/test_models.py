from __future__ import annotations

import string
from urllib.parse import urlsplit

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from hypothesis import example, given
from hypothesis import strategies as st

from router.errors import InvalidModelId
from router.models import EngineSpec, ModelRef, ResolvedModel

ALNUM = string.ascii_letters + string.digits
name_like = st.text(st.sampled_from(ALNUM + "._-"), min_size=1, max_size=100)
id_like = st.builds("{}/{}".format, name_like, name_like)
# Mostly texts that are almost valid: characters of ids and of URLs, and a few others.
anything = (
    st.text(st.sampled_from(ALNUM[:4] + "._-/@?#%&=: \n\x00é\u212a")) | st.text() | id_like
)


def parsed(text: str) -> ModelRef | None:
    try:
        return ModelRef.parse(text)
    except InvalidModelId:
        return None


@pytest.mark.parametrize(
    ("text", "repo_id", "revision"),
    [
        ("org/name", "org/name", None),
        ("Org-1/Name_2.5", "Org-1/Name_2.5", None),
        ("a/b", "a/b", None),
        ("org/_name_", "org/_name_", None),
        ("org/name@main", "org/name", "main"),
        ("org/name@refs/pr/1", "org/name", "refs/pr/1"),
        ("org/name@v1.0-rc_2", "org/name", "v1.0-rc_2"),
        (f"org/{'n' * 96}", f"org/{'n' * 96}", None),
    ],
)
def test_names_of_the_hub_are_parsed(text: str, repo_id: str, revision: str | None) -> None:
    ref = ModelRef.parse(text)
    assert (ref.repo_id, ref.revision) == (repo_id, revision)
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "name", "/", "org/", "/name", "a/b/c", "/models/x", "../x", "org/..", "./name"),
        *("org/gated?", "org/gated#", "org/gated%3f", "org/gated?/revision/main"),
        *("org/na me", "org/name\n", "org/name ", "org/näme", "org/name\x00", "org\\name"),
        *("org/-name", "org/name-", "org/.name", "org/name.", "org/na--me", "org/na..me"),
        *("org/name.git", f"org/{'n' * 97}", "https://huggingface.co/org/name"),
        *("org/name@", "org/name@..", "org/name@a/../b", "org/name@/a", "org/name@a/"),
        *("org/name@a//b", "org/name@a@b", "org/name@a?b", "org/name@a b", "org/name@a\n"),
        *("org/name@a/./b", "org/name@a/.b", "org/name@a.", "org/name@a.lock", "@main"),
        *("org/name@-x", f"org/name@{'r' * 129}", "org@main/name"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidModelId):
        ModelRef.parse(text)


@given(anything)
@example("org/name@refs/pr/1")
def test_a_parsed_name_prints_the_same(text: str) -> None:
    if ref := parsed(text):
        assert str(ref) == text
        assert ModelRef.parse(str(ref)) == ref


@given(anything)
def test_every_parsed_name_passes_the_hub_clients_own_check(text: str) -> None:
    if ref := parsed(text):
        validate_repo_id(ref.repo_id)


@given(id_like)
def test_names_that_the_hub_client_accepts_are_parsed_except_for_a_dot_or_dash_at_an_edge(
    text: str,
) -> None:
    try:
        validate_repo_id(text)
    except HFValidationError:
        return
    assert parsed(text) is not None


@given(anything)
def test_a_parsed_name_does_not_change_the_target_of_a_url(text: str) -> None:
    if ref := parsed(text):
        path = f"/api/models/{ref.repo_id}/revision/{ref.revision or 'main'}"
        url = urlsplit(f"https://hub.test{path}")
        assert (url.path, url.query, url.fragment) == (path, "", "")
        assert not {"", ".", ".."} & set(path.split("/")[1:])
        assert path.isascii()
        assert path.isprintable()
        assert " " not in path


@given(st.text())
def test_an_error_does_not_repeat_the_name(text: str) -> None:
    # Some callers put a token into `model` by mistake.
    secret = f"hf_{'x' * 20}{text}"
    with pytest.raises(InvalidModelId) as refused:
        ModelRef.parse(secret.replace("/", ""))
    assert "hf_x" not in refused.value.message


def test_only_a_full_hash_is_a_commit() -> None:
    assert ModelRef("org/name", "0123456789abcdef" * 2 + "01234567").is_commit
    assert not ModelRef("org/name", "0123456").is_commit
    assert not ModelRef("org/name", "A" * 40).is_commit
    assert not ModelRef("org/name").is_commit


@pytest.mark.parametrize(
    ("flags", "may"),
    [
        ((), True),
        (("--dtype", "half"), True),
        (("--startup-weight-load-mode", "overlap"), False),
        (("--startup_weight_load_mode=overlap",), False),
        (("--weight-cache-mode", "daemon"), False),
    ],
)
def test_flags_that_exclude_the_memory_saver_keep_an_engine_awake(
    flags: tuple[str, ...], may: bool
) -> None:
    assert EngineSpec(ResolvedModel("org/name", "c" * 40), flags).may_sleep is may


@pytest.mark.parametrize(
    ("flags", "own"),
    [
        (("--chat-template", "/t.jinja"), True),
        (("--chat_template=/t.jinja",), True),
        (("--chat-temp=/t.jinja",), True),
        (("--chat", "--completion-template=x"), False),
    ],
)
def test_a_flag_for_another_chat_template_is_seen(flags: tuple[str, ...], own: bool) -> None:
    assert EngineSpec(ResolvedModel("a/b", "c" * 40), flags).own_template is own
