"""Refs to snapshots, as the Hub's own client reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

from router.downloads.downloader import SnapshotDownloader
from router.downloads.refs import Refs
from router.downloads.snapshots import Snapshots
from router.hub.client import HuggingFaceHub
from router.models import ModelRef
from tests.loopback_hub import LoopbackHub

REPO, COMMIT, OTHER = "org/model", "a" * 40, "b" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"x" * 1000}


def put(cache: Path, *commits: str) -> Refs:
    for commit in commits:
        snapshot = Snapshots(cache).path(REPO, commit)
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
    return Refs(cache)


def refs(cache: Path) -> dict[str, set[str]]:
    """The refs to each commit, according to the Hub's client."""
    info = scan_cache_dir(cache)
    # The router's own folders are not repositories.
    assert not [w for w in info.warnings if "not a valid" not in str(w)]
    return {each.commit_hash: set(each.refs) for repo in info.repos for each in repo.revisions}


def test_a_snapshot_has_the_name_that_was_asked_for(tmp_path: Path) -> None:
    put(tmp_path, COMMIT).note(REPO, COMMIT, "main")
    assert refs(tmp_path) == {COMMIT: {"main", f"router/in-use/{COMMIT}"}}


def test_a_branch_moves_on_and_what_is_in_use_keeps_a_ref(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT, OTHER)
    cache.note(REPO, COMMIT, "main")
    cache.note(REPO, OTHER, "main")
    assert refs(tmp_path) == {
        COMMIT: {f"router/in-use/{COMMIT}"},
        OTHER: {"main", f"router/in-use/{OTHER}"},
    }
    cache.release(REPO, COMMIT)
    cache.release(REPO, OTHER)
    assert refs(tmp_path) == {COMMIT: set(), OTHER: {"main"}}


def test_a_commit_that_was_asked_for_has_a_ref_while_it_is_in_use(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT)
    cache.note(REPO, COMMIT, None)
    assert list(cache.in_use()) == [(REPO, COMMIT)]
    cache.release(REPO, COMMIT)
    assert refs(tmp_path) == {COMMIT: set()}


def test_a_branch_whose_ref_can_not_be_written_is_in_use_all_the_same(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT, OTHER)
    cache.note(REPO, OTHER, "a")
    with pytest.raises(OSError, match="refs/a"):  # the branch `a` became `a/b`
        cache.note(REPO, COMMIT, "a/b")
    assert (REPO, COMMIT) in cache.in_use()
    shutil.rmtree(Snapshots(tmp_path).path(REPO, COMMIT))
    with pytest.raises(OSError, match="refs/a"):
        cache.note(REPO, COMMIT, "a/b")
    assert list(cache.in_use()) == [(REPO, OTHER)]


def test_a_ref_to_what_another_worker_has_just_removed_does_not_stay(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT, OTHER)
    cache.note(REPO, OTHER, "main")
    shutil.rmtree(Snapshots(tmp_path).path(REPO, COMMIT))
    cache.note(REPO, COMMIT, "v1")
    assert refs(tmp_path) == {OTHER: {"main", f"router/in-use/{OTHER}"}}


def test_a_branch_of_the_routers_own_name_is_no_use(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT)
    cache.note(REPO, COMMIT, f"router/in-use/{OTHER}")
    assert list(cache.in_use()) == [(REPO, COMMIT)]


def test_forgotten_refs_leave_no_folders(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT)
    cache.note(REPO, COMMIT, "refs/pr/1")
    cache.forget(REPO, COMMIT)
    assert not (Snapshots(tmp_path).repo(REPO) / "refs").exists()


def test_a_reader_sees_one_commit_or_the_other(tmp_path: Path) -> None:
    cache = put(tmp_path, COMMIT, OTHER)
    cache.note(REPO, COMMIT, "main")
    ref = Snapshots(tmp_path).repo(REPO) / "refs" / "main"

    def write(number: int) -> None:
        cache.note(REPO, (COMMIT, OTHER)[number % 2], "main")

    with ThreadPoolExecutor(4) as workers:
        writing = [workers.submit(write, number) for number in range(200)]
        seen = {ref.read_text() for _ in range(500)}
        for one in writing:
            one.result()
    assert seen <= {COMMIT, OTHER}
    assert refs(tmp_path).keys() == {COMMIT, OTHER}


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.mark.process
async def test_pruning_spares_all_but_what_nothing_leads_to(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    old = hub.add_repo(REPO, FILES)
    environment = {**hub.environment(), "PATH": os.environ["PATH"]}
    downloader = SnapshotDownloader(tmp_path, environment)
    client = HuggingFaceHub(hub.endpoint, ca_file=str(hub.ca_file), timeout=60.0)

    async def fetch(name: str) -> str:
        model = await client.resolve(ModelRef.parse(name), None)
        await downloader.fetch(model, None, lambda _: None)
        return model.commit

    await fetch(REPO)
    new = hub.commit(REPO, {"config.json": b"{ }"})
    hub.tag(REPO, "v2")
    assert {await fetch(f"{REPO}@v2"), await fetch(REPO)} == {new}
    await client.close()
    assert refs(tmp_path) == {
        old: {f"router/in-use/{old}"},
        new: {"main", "v2", f"router/in-use/{new}"},
    }
    assert "Nothing to prune" in _hf(tmp_path, "prune", "--dry-run")
    Refs(tmp_path).release(REPO, old)
    offered = _hf(tmp_path, "prune", "--dry-run")
    assert old in offered
    assert new not in offered
    assert REPO in _hf(tmp_path, "ls")


def _hf(cache: Path, *command: str) -> str:
    hf = Path(sys.executable).with_name("hf")
    answer = subprocess.run(
        [hf, "cache", *command, "--cache-dir", cache],
        env={"HOME": str(cache), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    return answer.stdout + answer.stderr
