"""Bodies that cost much for their size: a hostile caller's bodies in tests and benchmarks."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping

CHAT = "/v1/chat/completions"
GENERATE = "/generate"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"

Shape = tuple[str, Callable[[int], bytes]]  # a route, and a body of about so many bytes


def repeated(before: bytes, unit: bytes, after: bytes) -> Callable[[int], bytes]:
    """Repeat `unit` between the two as often as it fits, without the last comma."""

    def made(size: int) -> bytes:
        count = max(1, (size - len(before) - len(after)) // len(unit))
        return before + (unit * count).removesuffix(b",") + after

    return made


def keys(size: int) -> bytes:
    return b"{%s}" % b",".join(b'"k%08d":0' % number for number in range(size // 14))


def image(size: int) -> bytes:
    content = base64.b64encode(os.urandom(size * 3 // 4))
    return (
        b'{"messages":[{"role":"user","content":[{"type":"image_url",'
        b'"image_url":{"url":"data:image/png;base64,%s"}}]}]}' % content
    )


def _list(unit: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"a":[', unit, b"]}")


def _text(unit: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"user":"', unit, b'"}')


SHAPES: Mapping[str, Shape] = {
    "lists": (CHAT, _list(b"[],")),
    "objects": (CHAT, _list(b'{"a":{}},')),
    "deep": (CHAT, _list(b'[{"a":' * 100 + b"1" + b"}]" * 100 + b",")),
    "keys": (CHAT, keys),
    "keys, native": (GENERATE, keys),
    "one key": (CHAT, repeated(b"{", b'"abc":1,', b"}")),
    "token ids": (GENERATE, repeated(b'{"input_ids":[', b"10,", b"]}")),
    "numbers": (CHAT, _list(b"1.00000000000000011102230246251565,")),
    "long numbers": (CHAT, _list(b"0." + b"1" * 1_000_000 + b",")),
    "small strings": (CHAT, _list(b'"ab",')),
    "escapes": (CHAT, _text(rb"\u0041")),
    "surrogates": (CHAT, _text(rb"\ud83d\ude00")),
    "control characters": (CHAT, _text(rb"\u0001")),
    "letters": (CHAT, _text("é".encode())),
    "spaces": (CHAT, repeated(b'{"a":1', b" ", b"}")),
    "not JSON": (CHAT, repeated(b'{"a":[', b"1,", b"], oops")),
    "messages": (CHAT, repeated(b'{"messages":[', b'{"role":"user","content":"x"},', b"]}")),
    "image": (CHAT, image),
    "line breaks": (GENERATE, repeated(b'{"image_data":"A', rb"\n", b'!"}')),
    "tiny media": (GENERATE, repeated(b'{"image_data":[', b'"QQ==",', b"]}")),
    "no media": (GENERATE, repeated(b'{"image_data":[', b"null,", b"]}")),
    "empty media": (
        CHAT,
        repeated(b'{"messages":[{"content":[', b'{"image_url":{}},', b"]}]}"),
    ),
    "sources": (
        MESSAGES,
        repeated(b'{"messages":[{"content":[', b'{"type":"image","source":{}},', b"]}]}"),
    ),
    "reasoning": (
        RESPONSES,
        repeated(
            b'{"input":[',
            b'{"encrypted_content":"sglang-reasoning-v1.eJwDAAAAAAE="},',
            b"]}",
        ),
    ),
    "salts": (CHAT, repeated(b'{"cache_salt":[', b'"a",', b"]}")),
    "long salt": (CHAT, repeated(b'{"cache_salt":"', b"a", b'"}')),
    "long name": (CHAT, repeated(b'{"model":"', b"a/", b'"}')),
    "long token": (CHAT, repeated(b'{"hf_token":"', b"a", b'"}')),
    "paths": (CHAT, repeated(b'{"lora_path":"', b"/a ", b'"}')),
}
