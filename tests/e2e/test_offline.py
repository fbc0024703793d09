"""An offline worker, which never asks the Hub, on the disk of an online one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.caller import calling
from tests.e2e.harness import Harness

OWN, OPEN, CLOSED, GATED = "acme/own", "acme/open", "acme/closed", "acme/gated"
REFUSED = (403, "model_not_allowed")


async def test_an_offline_worker_serves_what_needs_no_check(
    harness: Harness, tmp_path: Path
) -> None:
    token = harness.hub.add_account("acme")
    harness.model(OWN, private=True)
    harness.model(OPEN)
    harness.model(CLOSED, private=True)
    harness.model(GATED, gated=True)
    home = {"HF_HOME": str(tmp_path / "home"), "MODEL_NAME": OWN, "HF_TOKEN": token}
    with harness.worker(**home, HF_TOKEN_MODELS="none", MAX_LOADED_MODELS="4") as worker:
        async with calling(worker.url) as caller:
            for name in (OWN, OPEN, CLOSED, GATED):
                assert (await caller.chat(name, token=token)).status == 200
    harness.hub.requests.clear()
    with harness.worker(**home, HF_HUB_OFFLINE="yes", MAX_LOADED_MODELS="2") as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == f"I am {OWN}"
            for name in (OWN, OPEN):
                assert (await caller.chat(name)).text == f"I am {name}"
            for name in (CLOSED, GATED, "acme/missing"):
                refusal = await caller.chat(name)
                assert refusal.refusal == REFUSED
                assert "HF_HUB_OFFLINE" in refusal.json["error"]["message"]
            stranger = harness.hub.add_account("stranger")
            for name in (OWN, OPEN, CLOSED):
                assert (await caller.chat(name, token=stranger)).refusal == REFUSED
    assert "offline (HF_HUB_OFFLINE)" in worker.log
    assert not harness.hub.requests


@pytest.mark.parametrize("offline", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
async def test_an_offline_worker_serves_what_the_hubs_own_client_has_downloaded(
    harness: Harness, tmp_path: Path, offline: str
) -> None:
    name = harness.model(f"acme/{offline.lower()}")
    environ = {"HF_HOME": str(tmp_path), "HOME": str(tmp_path)}
    hf = Path(sys.executable).with_name("hf")
    subprocess.run(  # noqa: ASYNC221
        [hf, "download", name],
        env={"PATH": os.environ["PATH"], **harness.hub.environment(), **environ},
        check=True,
        capture_output=True,
        timeout=60,
    )
    harness.hub.requests.clear()
    with harness.worker(HF_HOME=str(tmp_path), MODEL_NAME=name, **{offline: "1"}) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == f"I am {name}"
    assert not harness.hub.requests


async def test_what_the_operator_named_and_is_not_there_is_told(
    harness: Harness, tmp_path: Path
) -> None:
    name = harness.model("acme/absent")
    harness.hub.requests.clear()
    with harness.worker(HF_HOME=str(tmp_path), MODEL_NAME=name, HF_HUB_OFFLINE="1") as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).refusal == REFUSED
    assert f"{name} can't be served" in worker.log
    assert not harness.hub.requests
