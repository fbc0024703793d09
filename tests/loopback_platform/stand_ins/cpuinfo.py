"""For the SDK, which asks for the processor's name and takes 1.4 s over it at each start."""

from __future__ import annotations


def get_cpu_info() -> dict[str, str]:
    return {"brand_raw": "a processor"}
