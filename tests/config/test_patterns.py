from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.config.patterns import Patterns
from router.errors import InvalidModelId
from router.models import ModelRef

_part = st.from_regex(r"[A-Za-z0-9_.*-]{1,12}", fullmatch=True)
patterns = st.builds(
    "{}/{}{}".format, _part, _part, st.sampled_from(["", "@*", "@v1", "@refs/*"])
)
names = st.builds("{}/{}".format, _part, _part)


def read(name: str) -> ModelRef:
    try:
        return ModelRef.parse(name)
    except InvalidModelId:
        assume(condition=False)
        raise


@given(st.text() | st.lists(patterns).map(",".join))
def test_what_is_read_is_written_back_the_same_and_the_rest_is_refused(text: str) -> None:
    try:
        read = Patterns.parse(text)
    except ValueError:
        return
    assert Patterns.parse(str(read)) == read


@given(patterns, names)
def test_a_name_without_a_star_stands_for_itself_alone(pattern: str, name: str) -> None:
    wanted = pattern.partition("@")[0]
    assume("*" not in wanted)
    covered = Patterns.parse(pattern).cover(read(name).repo_id)
    assert covered == (name.lower() == wanted.lower())


@given(patterns, names, st.sampled_from(["v1", "refs/pr/1", "main"]))
def test_no_revision_but_the_default_is_meant_unless_it_is_written(
    pattern: str, name: str, revision: str
) -> None:
    assume("@" not in pattern)
    ref = ModelRef(read(name).repo_id, revision)
    if Patterns.parse(pattern).allow(ref):
        assert revision == "main"


@pytest.mark.parametrize("text", ["", ",", "org", "org/name/x", "org/name@", "a/b@x y", "ö/x"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="comma-separated"):
        Patterns.parse(text)
