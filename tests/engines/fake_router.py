"""A router to be killed. It runs its arguments as an engine, and waits for its exit."""

from __future__ import annotations

import asyncio
import os
import sys

from engines.process import EngineProcess


async def main() -> None:
    engine = await EngineProcess.spawn(sys.argv[1:], os.environ, print)
    await engine.exited()


if __name__ == "__main__":
    asyncio.run(main())
