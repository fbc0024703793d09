"""Limits the packed reasoning that callers of /v1/responses send back.

SGLang 0.5.23 unpacks it without a limit (`decode_reasoning_state`): 32 MiB could become 32 GB
in its memory.
"""

from __future__ import annotations

import base64
import zlib

from router.errors import InvalidRequest

MOST_BYTES = 16 << 20  # unpacked, per request: a few million tokens
HIGHEST_RATIO = 1032  # of zlib
_PREFIX = "sglang-reasoning-v1."


def check_reasoning(fields: dict[str, object]) -> None:
    """Raise `InvalidRequest` if it would take too much memory."""
    items, left = fields.get("input"), MOST_BYTES
    for item in items if isinstance(items, list) else ():
        packed = item.get("encrypted_content") if isinstance(item, dict) else None
        if isinstance(packed, str) and packed.startswith(_PREFIX):
            left -= _unpacked(packed.removeprefix(_PREFIX), left + 1)
        if left < 0:
            raise InvalidRequest(
                f"`encrypted_content` unpacks to more than {MOST_BYTES} bytes in all. Leave "
                "the oldest out.",
                param="input",
            )


def _unpacked(packed: str, most: int) -> int:
    """Unpacked bytes, counted up to `most`. SGLang skips damaged data only after it has
    unpacked it, so damaged data count with the maximum possible size."""
    try:
        content = base64.urlsafe_b64decode(packed)
    except ValueError:
        return 0
    try:
        return len(zlib.decompressobj().decompress(content, most))
    except zlib.error:
        return min(most, len(content) * HIGHEST_RATIO)
