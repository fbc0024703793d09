"""Chunks are parsed strictly, wherever they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http.chunks import BrokenBody, ChunkReader
from tests.http.pieces import cut, cuts

NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def read(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """The body, the bytes after it, and whether the body is complete."""
    reader, body, rest = ChunkReader(), b"", b""
    for piece in pieces:
        if reader.complete:
            rest += piece
        else:
            data, end = reader.feed(piece)
            body, rest = body + data, piece[end:]
    return body, rest, reader.complete


@given(
    st.lists(st.binary(min_size=1, max_size=40)),
    st.sampled_from([b"", b";a=b", b';name="a value"']),
    st.sampled_from([b"", b"X-Trailer: 1\r\n", b"A: 1\r\nB:\r\n"]),
    cuts(),
)
def test_the_body_is_the_same_wherever_it_is_cut(
    chunks: list[bytes], extension: bytes, trailers: bytes, at: list[int]
) -> None:
    coded = b"".join(b"%x%b\r\n%b\r\n" % (len(one), extension, one) for one in chunks)
    sent = coded + b"0" + extension + b"\r\n" + trailers + b"\r\n" + NEXT
    assert read(*cut(sent, at)) == (b"".join(chunks), NEXT, True)


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n",
        b"2\n",
        b"2 \r\n{}\r\n",
        b" 2\r\n{}\r\n",
        b"0x2\r\n{}\r\n",
        b"+2\r\n{}\r\n",
        b"-2\r\n{}\r\n",
        b"2_0\r\n{}\r\n",
        b"\xd9\xa2\r\n{}\r\n",
        b"1000000000000000\r\n",
        b"2;\n0\r\n\r\n",
        b"2;a\x00\r\n{}\r\n",
        b"2;" + b"a" * 5000,
        b"2;" + b"a" * 5000 + b"\r\n{}\r\n",
        b"2\r\n{}0\r\n\r\n",
        b"2\r\n{}\n0\r\n\r\n",
        b"2\r\n{}\r0\r\n\r\n",
        b"2\r\n{}}\r\n0\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n X: 1\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX: 1\nY: 2\r\n\r\n",
        b"0\r\nX: 1\rY: 2\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * 33 + b"\r\n",
        b"0\r\nX: " + b"a" * 5000,
    ],
)
def test_what_is_nearly_a_chunk_is_none(sent: bytes) -> None:
    with pytest.raises(BrokenBody):
        read(sent + b"\r\n" if sent.endswith(b"\n") else sent)
    with pytest.raises(BrokenBody):
        read(*(sent[at : at + 1] for at in range(len(sent))), b"\r\n")


@given(st.binary(max_size=200) | st.text("0123f;\r\nX: ").map(str.encode), cuts())
def test_anything_at_all_is_read_alike_wherever_it_is_cut(data: bytes, at: list[int]) -> None:
    assert attempt(data) == attempt(*cut(data, at))


def attempt(*pieces: bytes) -> tuple[bytes, bytes, bool] | None:
    try:
        return read(*pieces)
    except BrokenBody:
        return None
