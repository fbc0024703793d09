"""Serves a local directory under a name. The Hub is not asked, and no path is shown."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.fake_engine import FILE, behaviour
from tests.servable import servable


def write(directory: Path, **config: object) -> None:
    for name, content in servable(**config).items():
        (directory / name).write_bytes(content)


async def test_a_directory_is_served_by_its_name_and_can_not_be_named_as_a_path(
    harness: Harness, tmp_path: Path
) -> None:
    directory = tmp_path / "weights"
    directory.mkdir()
    write(directory)
    (directory / FILE).write_bytes(behaviour(answer="I am local."))
    harness.hub.requests.clear()
    with harness.worker(MODEL_NAME=str(directory)) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == "I am local."
            assert (await caller.chat("weights")).text == "I am local."
            refused = await caller.chat(str(directory))
            assert refused.refusal == (400, "invalid_model_id")
            assert str(tmp_path) not in str((await caller.get("/v1/models")).body)
    assert not harness.hub.requests


async def test_a_directory_is_served_for_what_its_files_say(
    harness: Harness, tmp_path: Path
) -> None:
    directory = tmp_path / "vectors"
    directory.mkdir()
    write(directory, architectures=["BertModel"], model_type="bert")
    (directory / FILE).write_bytes(behaviour())
    with harness.worker(MODEL_NAME=str(directory)) as worker:
        async with calling(worker.url) as caller:
            refused = await caller.chat(None)
            assert refused.refusal == (400, "wrong_endpoint")
            answer = await caller.post("/v1/embeddings", {"input": "text"})
            assert answer.status == 200
