"""Lists of where media are, which are no media themselves.

SGLang has FFmpeg decode video and audio, and FFmpeg goes and gets what a manifest names, from
any host. It tells a format by the content alone: a `data:` URL that calls itself a video can
hold a DASH manifest, and FFmpeg 6.1 and 7.0 then ask the hosts that it names, this machine's
own ports included. No flag of SGLang's (0.5.23) prevents that.
"""

from __future__ import annotations

import base64

_LOOKED_AT = 4 << 20  # characters of base64; FFmpeg looks at 1 MiB to tell a format

# Without these words, in any case, it takes nothing for the format (libavformat, the
# functions called `*_probe`). No real media have them.
_MARKS = (
    b"dash:profile",
    b"pss:profile:dash",
    b"#extm3u",  # HLS, where FFmpeg is old or the content was stored as a file
    b"ffconcat version",
    b"c=in ip",  # SDP, which has it listen
    b"<compositionplaylist",  # IMF
)


def holds_media(encoded: str) -> bool:
    """Whether this is base64, and not of a manifest."""
    try:
        content = base64.b64decode(encoded[:_LOOKED_AT], validate=True)
    except ValueError:
        return False
    content = content.lower()
    return not any(mark in content for mark in _MARKS)
