"""Detects media manifests: lists of media locations, which contain no media themselves.

SGLang decodes video and audio with FFmpeg, and FFmpeg fetches what a manifest names, from any
host. It detects a format by the content alone: a `data:` URL that claims to be a video can
contain a DASH manifest, and FFmpeg 6.1 and 7.0 then connect to the hosts that it names, even to
ports of this machine. No flag of SGLang (0.5.23) prevents that.
"""

from __future__ import annotations

import base64

_LOOKED_AT = 4 << 20  # characters of base64; FFmpeg probes 1 MiB to detect a format

# FFmpeg detects no manifest without one of these words, in any case (see the functions called
# `*_probe` in libavformat). Real media do not contain them.
_MARKS = (
    b"dash:profile",
    b"pss:profile:dash",
    b"#extm3u",  # HLS, if FFmpeg is old or the content was stored as a file
    b"ffconcat version",
    b"c=in ip",  # SDP, which makes FFmpeg listen
    b"<compositionplaylist",  # IMF
)


def holds_media(encoded: str) -> bool:
    """Whether this is base64 and does not contain a manifest."""
    try:
        content = base64.b64decode(encoded[:_LOOKED_AT], validate=True)
    except ValueError:
        return False
    content = content.lower()
    return not any(mark in content for mark in _MARKS)
