"""What an offline worker, which never asks the Hub, serves to whom."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import PUBLIC, LastUsed
from router.downloads.offline import OfflineHub
from router.downloads.snapshots import Snapshots
from router.errors import ModelNotAllowed, RouterError, UnsupportedModel
from router.models import Access, ModelRef, ResolvedModel, Task
from router.repository.files import RemoteFile
from router.secrets import Token

COMMIT, OTHER = "a" * 40, "b" * 40
GRACE = 1000.0


class House:
    """A cache from an earlier time, and a worker that is now offline."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.now = cache, 4e9
        self.snapshots, self.token = Snapshots(cache), Token("hf_" + secrets.token_hex(16))
        self.public = LastUsed(cache, PUBLIC, lambda: self.now)

    def hub(self, *operators: str, unsafe: bool = False) -> OfflineHub:
        return OfflineHub(
            [self.cache / "none", self.cache],
            operators=list(map(ModelRef.parse, operators)),
            own_tokens=[self.token],
            public=self.public,
            grace=GRACE,
            unsafe_weights=unsafe,
            task_of=lambda *_: Task.GENERATE,
        )

    def put(
        self,
        name: str,
        commit: str = COMMIT,
        *,
        sealed: bool = True,
        public: bool = False,
        weights: str = "model.safetensors",
    ) -> Path:
        snapshot = self.snapshots.path(name, commit)
        snapshot.mkdir(parents=True)
        files = {"config.json": b"{}", weights: b"x"}
        for file, data in files.items():
            (snapshot / file).write_bytes(data)
        if sealed:
            listed = [RemoteFile(file, len(data), file) for file, data in files.items()]
            self.snapshots.seal(name, commit, listed)
        self.snapshots.refs.note(name, commit, "main")
        if public:
            self.public.record(name, commit)
            os.utime(self.public.path(name, commit), (self.now, self.now))
        return snapshot


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def refused(hub: OfflineHub, name: str, token: Token | None = None) -> str:
    with pytest.raises(ModelNotAllowed) as caught:
        await hub.resolve(ModelRef.parse(name), token)
    return caught.value.message


@pytest.mark.parametrize("name", ["org/own", f"org/own@{COMMIT}", "org/own@main"])
async def test_the_operators_model_is_what_its_name_last_meant(house: House, name: str) -> None:
    house.put("org/own", OTHER)
    house.put("org/own")
    hub = house.hub(name)
    for token in (None, house.token):
        model = await hub.resolve(ModelRef.parse(name), token)
        assert (model.repo_id, model.commit, model.path) == ("org/own", COMMIT, None)
        assert model.access is Access.PRIVATE
        await hub.entitle(model, token)


async def test_a_model_that_was_seen_public_is_served_for_the_grace(house: House) -> None:
    house.put("org/open", public=True)
    hub = house.hub()
    house.now += GRACE - 1
    model = await hub.resolve(ModelRef("org/open"), None)
    assert (model.commit, model.access) == (COMMIT, Access.PUBLIC)
    await hub.entitle(model, None)
    house.now += 1
    await refused(hub, "org/open")
    with pytest.raises(ModelNotAllowed):
        await hub.entitle(model, None)


async def test_a_clock_that_was_ahead_does_not_make_the_grace_longer(house: House) -> None:
    house.put("org/open", public=True)
    hub = house.hub()
    house.now -= 60  # the clocks of two workers differ a little
    await hub.resolve(ModelRef("org/open"), None)
    house.now -= 3600
    await refused(hub, "org/open")


async def test_a_commit_that_is_not_known_to_be_public_is_not_served(house: House) -> None:
    house.put("org/open", public=True)
    house.put("org/open", OTHER)
    hub = house.hub()
    await refused(hub, f"org/open@{OTHER}")
    await refused(hub, "org/open")  # `main` has moved to it


async def test_a_private_model_on_the_disk_looks_like_a_missing_one(house: House) -> None:
    house.put("org/closed")
    hub = house.hub()
    there = await refused(hub, "org/closed")
    assert there.replace("closed", "") == (await refused(hub, "org/missing")).replace(
        "missing", ""
    )
    with pytest.raises(ModelNotAllowed):
        await hub.entitle(ResolvedModel("org/closed", COMMIT), None)


async def test_a_token_of_a_caller_can_not_be_checked(house: House) -> None:
    house.put("org/open", public=True)
    hub = house.hub("org/open")
    stranger = Token("hf_" + secrets.token_hex(16))
    assert "send none" in await refused(hub, "org/open", stranger)
    with pytest.raises(ModelNotAllowed, match="send none"):
        await hub.entitle(ResolvedModel("org/open", COMMIT), stranger)


async def test_what_another_program_has_downloaded_serves_the_operator_alone(
    house: House,
) -> None:
    snapshot = house.put("org/own", sealed=False)
    model = await house.hub("org/own").resolve(ModelRef("org/own"), None)
    assert model.path == snapshot
    house.public.record("org/own", COMMIT)
    await refused(house.hub(), "org/own")


@pytest.mark.parametrize("lacks", ["config.json", "model.safetensors", "a shard"])
async def test_an_unfinished_download_of_another_program_is_not_served(
    house: House, lacks: str
) -> None:
    snapshot = house.put("org/own", sealed=False)
    if lacks == "a shard":
        index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        (snapshot / lacks).unlink()
    assert "is not on its disk, or not all" in await refused(house.hub("org/own"), "org/own")


async def test_a_model_of_the_operators_that_is_missing_is_not_said_to_be_a_strangers(
    house: House,
) -> None:
    hub = house.hub("org/own")
    assert "org/own is not on its disk" in await refused(hub, "org/own")
    assert "neither one of its operator's" in await refused(hub, "org/own@v2")


async def test_a_file_that_is_gone_is_not_downloaded(house: House) -> None:
    model = ResolvedModel("org/own", COMMIT)
    (house.put("org/own") / "model.safetensors").unlink()
    downloader = SnapshotDownloader(house.cache, {}, offline=True)
    with pytest.raises(RouterError, match="HF_HUB_OFFLINE"):
        await downloader.fetch(model, None, lambda _: None)


async def test_what_is_fetched_is_recorded_as_public_only_where_the_hub_was_asked(
    house: House,
) -> None:
    house.put("org/open")
    open_, closed = (
        ResolvedModel("org/open", COMMIT, access=a) for a in (Access.PUBLIC, Access.PRIVATE)
    )
    for offline, model, recorded in (
        (True, open_, False),
        (False, open_, True),
        (True, closed, True),
        (False, closed, False),
    ):
        downloader = SnapshotDownloader(house.cache, {}, public=house.public, offline=offline)
        await downloader.fetch(model, None, lambda _: None)
        assert house.public.path("org/open", COMMIT).exists() is recorded


@pytest.mark.parametrize("sealed", [True, False])
async def test_pickles_are_served_where_the_operator_allows_them(
    house: House, sealed: bool
) -> None:
    house.put("org/own", sealed=sealed, weights="pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match=r"only as \.bin"):
        await house.hub("org/own").resolve(ModelRef("org/own"), None)
    model = await house.hub("org/own", unsafe=True).resolve(ModelRef("org/own"), None)
    assert model.commit == COMMIT


async def test_weights_of_any_name_are_served(house: House) -> None:
    snapshot = house.put("org/own", sealed=False, weights="layers.safetensors")
    model = await house.hub("org/own").resolve(ModelRef("org/own"), None)
    assert model.path == snapshot


@pytest.mark.parametrize(
    "weights", ["pytorch_model-00001-of-00002.bin", "layers-00001-of-00002.safetensors"]
)
async def test_shards_without_the_others_are_not_served(house: House, weights: str) -> None:
    house.put("org/own", sealed=False, weights=weights)
    hub = house.hub("org/own", unsafe=True)
    assert "is not on its disk, or not all" in await refused(hub, "org/own")


async def test_what_is_no_model_is_refused_with_the_reason(house: House) -> None:
    house.put("org/own", sealed=False, weights="adapter_model.safetensors")
    with pytest.raises(UnsupportedModel, match="only an adapter"):
        await house.hub("org/own").resolve(ModelRef("org/own"), None)
