from __future__ import annotations

import asyncio

import pytest

from router.ray.orphans import SILENT_LOOKS, Orphans


async def _work(orphans: Orphans, ingress: str) -> None:
    with orphans.working_for(ingress):
        await asyncio.Event().wait()


async def test_the_requests_of_a_silent_ingress_end() -> None:
    orphans = Orphans()
    lost, kept = (asyncio.create_task(_work(orphans, name)) for name in ("lost", "kept"))
    await asyncio.sleep(0)
    ended = 0
    for _ in range(SILENT_LOOKS):
        orphans.hear("kept")
        ended += orphans.look()
    assert ended == 1
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(lost, 60.0)
    assert not kept.done()
    kept.cancel()


async def test_a_request_that_is_over_is_not_ended() -> None:
    orphans = Orphans()
    with orphans.working_for("ingress"):
        pass
    assert sum(orphans.look() for _ in range(SILENT_LOOKS)) == 0


async def test_an_ingress_that_was_taken_for_gone_can_come_back() -> None:
    orphans = Orphans()
    with orphans.working_for("ingress"):
        pass
    for _ in range(SILENT_LOOKS):
        orphans.look()
    task = asyncio.create_task(_work(orphans, "ingress"))
    await asyncio.sleep(0)
    orphans.look()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
