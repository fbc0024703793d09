"""An engine that costs next to nothing: it answers readiness, then the same bytes for ever.

`ENGINE_PYTHON=PYTHON` starts it in SGLang's place. A whole answer comes at once, from nginx
where there is one. An engine for a model with `STREAMS` in its name streams: each
`INTERVAL`, all answers get an event, as each step of SGLang makes a token of all of them, until
they have `max_tokens` or the client leaves. Where a request names `IDLE`, it is one event.
"""

from __future__ import annotations

from pathlib import Path

PYTHON = Path(__file__).with_name("python")
INTERVAL = 0.1  # seconds between two events of one stream
STREAMS = "streams"
IDLE = "stays-idle"

__all__ = ["IDLE", "INTERVAL", "PYTHON", "STREAMS"]
