"""An engine that costs next to nothing: it answers readiness, and always the same bytes.

`ENGINE_PYTHON=PYTHON` starts it instead of SGLang. A whole answer comes at once, from nginx if
installed. If the model's name contains `STREAMS`, the engine streams: each `INTERVAL`, all
answers get an event, like the tokens of one step of SGLang, until they have `max_tokens` or the
client leaves. If a request contains `IDLE`, the stream has one event.
"""

from __future__ import annotations

from pathlib import Path

PYTHON = Path(__file__).with_name("python")
INTERVAL = 0.1  # seconds between two events of one stream
STREAMS = "streams"
IDLE = "stays-idle"

__all__ = ["IDLE", "INTERVAL", "PYTHON", "STREAMS"]
