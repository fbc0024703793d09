"""Small client programs for behavior that belongs in no example."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.clients.harness import EXAMPLES, NODE

PROGRAMS = Path(__file__).parent


async def prints(program: str, *arguments: str) -> list[str]:
    """The output lines of a program for node."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), "--input-type=module", "-", *arguments),
        cwd=EXAMPLES,  # so that node finds the packages
        env={},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate((PROGRAMS / program).read_bytes())
    return out.decode().splitlines()
