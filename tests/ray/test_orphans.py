from __future__ import annotations

import asyncio

import pytest

from router.app.fleet.orphans import ALIVE_WITHIN, Orphans


async def test_the_requests_of_a_silent_ingress_end() -> None:
    now = [0.0]
    orphans = Orphans(lambda: now[0])

    async def work(ingress: str) -> None:
        with orphans.working_for(ingress):
            await asyncio.Event().wait()

    lost, kept = (asyncio.create_task(work(name)) for name in ("lost", "kept"))
    await asyncio.sleep(0)
    now[0] = ALIVE_WITHIN + 1.0
    orphans.hear("kept")
    assert orphans.end() == 1
    with pytest.raises(asyncio.CancelledError):
        await lost
    assert not kept.done()
    assert orphans.end() == 0
    kept.cancel()
