"""The log names each cause of a failing or leaving engine once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.pool.fakes import settle, spec
from tests.pool.harness import PoolHarness


async def test_the_cause_of_a_crash_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = PoolHarness().instant()
    with harness.pool.lease(spec("a"), None, deadline=1e9) as lease:
        await lease.granted()
    harness.launcher.engine("a").die()
    await settle()
    assert caplog.text.count("killed by SIGKILL") == 1
    (line,) = (one.getMessage() for one in caplog.records if one.levelname == "ERROR")
    assert line.startswith(f"{spec('a').key} crashed: killed by SIGKILL")
    assert "stopping" not in caplog.text
    assert "is gone" not in caplog.text
    await harness.pool.shut_down(0.0)


async def test_an_eviction_says_for_which_model(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = PoolHarness(max_loaded=1).instant()
    for name in ("a", "b"):
        with harness.pool.lease(spec(name), None, deadline=1e9) as lease:
            await lease.granted()
    assert f"stopping {spec('a').key}: evicted, for {spec('b').key}" in caplog.text
    await harness.pool.shut_down(0.0)


async def test_an_engine_killed_under_a_request_says_how_it_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its connections break before its process has exited."""
    harness = PoolHarness(exits_within=60.0).instant()
    with harness.pool.lease(spec("a"), None, deadline=1e9) as lease:
        await lease.granted()
        engine = harness.launcher.engine("a")
        engine.healthy = False
        suspecting = asyncio.create_task(harness.pool.suspect(lease))
        await settle()
        assert not suspecting.done()
        engine.die()
        await suspecting
    assert f"{spec('a').key} crashed: killed by SIGKILL" in caplog.text
    assert "connection lost" not in caplog.text
    await harness.pool.shut_down(0.0)
