"""An engine that costs next to nothing: it answers readiness, then the same bytes for ever.

`ENGINE_PYTHON=PYTHON` starts it in SGLang's place. A whole answer comes at once. A stream
never ends: one event each `INTERVAL`, until the client leaves.
"""

from __future__ import annotations

from pathlib import Path

PYTHON = Path(__file__).with_name("python")
INTERVAL = 0.1  # seconds between two events of one stream

__all__ = ["INTERVAL", "PYTHON"]
