from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import pickle
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidHfToken
from router.secrets import Secret, Token, digest_of, token_text


def a_token() -> str:
    return "hf_" + secrets.token_hex(16)


@dataclasses.dataclass
class Holder:
    token: Token


def test_a_token_is_shown_by_reveal_only() -> None:
    text = a_token()
    token = Token(text)
    assert token.reveal() == text
    holder = Holder(token)
    shown = [repr(token), str(token), f"{token:>40}", f"{token!r}", repr(holder)]
    shown += [str(dataclasses.asdict(holder)), "%s %r" % (token, [token])]  # noqa: UP031
    assert all(text not in line for line in shown)


def test_a_token_is_neither_pickled_nor_copied() -> None:
    token = Token(a_token())
    with pytest.raises(TypeError, match="pickling") as refused:
        pickle.dumps(token)
    assert token.reveal() not in str(refused.value)
    assert copy.copy(token) is token
    assert copy.deepcopy([token])[0] is token
    assert not hasattr(token, "__dict__")


def test_equal_tokens_share_a_digest_that_does_not_reveal_them() -> None:
    text = a_token()
    assert Token(text) == Token(text)
    assert hash(Token(text)) == hash(Token(text))
    assert Token(text).digest == Token(text).digest
    assert Token(text) != Token(a_token())
    assert text not in Token(text).digest


def test_nobody_can_guess_a_secret_from_its_digest() -> None:
    """An API key can be weak, and another user may get to read a pool's journal."""
    weak = "letmein1"
    plain = {hashlib.new(name, weak.encode()).hexdigest() for name in ("sha256", "blake2b")}
    assert not any(one.startswith(Secret(weak).digest[:12]) for one in plain)
    assert digest_of(weak) == Secret(weak).digest


@pytest.mark.process
def test_a_digest_means_nothing_to_another_process() -> None:
    told = "from router.secrets import digest_of; print(digest_of('letmein1'))"
    other = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True)
    assert other.stdout.decode().strip() != digest_of("letmein1")


@pytest.mark.parametrize(
    "spoil",
    ["Bearer {}", " {}", "{} ", "{}\n", "{}\x00", "{}é", "{},x", "{}/x"],
)
def test_a_malformed_token_is_refused_without_its_value(spoil: str) -> None:
    text = a_token()
    with pytest.raises(InvalidHfToken) as refused:
        Token(spoil.format(text))
    assert text not in repr(refused.value)


@pytest.mark.parametrize(
    ("spoil", "flaw"),
    [
        *(('"{}"', "in quotes"), ("'{}'", "in quotes"), ("\u201c{}\u201d", "in quotes")),
        *((' "{}"', "in quotes"), ("{}'", "in quotes")),
        *(("Bearer {}", "`Bearer `"), ("bearer {}", "`Bearer `")),
        *(("{{{{ RUNPOD_SECRET_{} }}}}", "unresolved"), ("${{{}}}", "unresolved")),
        *(("{}\n", "line breaks"), (" {}", "spaces"), ("{} x", "spaces")),
        *(("{}é", "other characters"), ("{},x", "other characters")),
    ],
)
def test_what_was_done_wrong_with_a_token_is_named_without_its_value(
    spoil: str, flaw: str
) -> None:
    text = a_token()
    with pytest.raises(InvalidHfToken, match=flaw) as refused:
        Token(spoil.format(text))
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["", "short", "x" * 513])
def test_a_token_has_a_bounded_length(text: str) -> None:
    with pytest.raises(InvalidHfToken):
        Token(text)


@given(st.text())
def test_any_text_is_a_token_or_refused_as_one(text: str) -> None:
    try:
        assert Token(text).reveal() == text
    except InvalidHfToken as refused:
        assert len(text) < 8 or text not in str(refused)  # noqa: PT017 - either may happen


def test_any_secret_may_have_any_shape_and_does_not_print() -> None:
    text = f"{a_token()} with spaces, and ' quotes"
    assert Secret(text).reveal() == text
    assert repr(Secret(text)) == "Secret(***)"


def test_what_is_no_token_is_refused_as_one_whatever_the_file_holds(tmp_path: Path) -> None:
    binary = tmp_path / "token"
    binary.write_bytes(b"hf_\xff\xfe")
    for file in (binary, Path("/dev/zero")):  # which never ends
        with pytest.raises(InvalidHfToken):
            Token(token_text(file))


def test_a_token_may_come_through_a_pipe() -> None:
    reading, writing = os.pipe()
    token = f"hf_{'x' * 32}"
    os.write(writing, f"{token}\n".encode())
    os.close(writing)
    assert token_text(Path(f"/proc/self/fd/{reading}")) == token
    os.close(reading)
