"""The real client reads a repository's metadata."""

from __future__ import annotations

import json
from pathlib import Path

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.client import Client


def test_model_info_tells_id_commit_and_files(hub: LoopbackHub, client: Client) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8}
    sha = hub.add_repo(
        "acme/Tiny",
        {"config.json": json.dumps(config).encode(), "model.safetensors": _safetensors()},
    )
    info = client.call("model_info", "acme/tiny", files_metadata=True)
    assert info["id"] == "acme/Tiny"
    assert info["sha"] == sha
    assert len(sha) == 40
    assert (info["private"], info["gated"], info["disabled"]) == (False, False, False)
    assert info["config"] == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert info["safetensors"]["parameters"] == {"BF16": 12, "F32": 5}
    small, large = info["siblings"]
    assert (small["rfilename"], small["lfs"]) == ("config.json", None)
    assert (large["rfilename"], large["size"]) == ("model.safetensors", len(_safetensors()))
    assert large["lfs"]["size"] == large["size"]


def test_sizes_are_told_only_where_asked_for(hub: LoopbackHub, client: Client) -> None:
    hub.add_repo("acme/sizes", {"config.json": b"{}"})
    assert client.call("model_info", "acme/sizes")["siblings"][0]["size"] is None
    assert client.call("model_info", "acme/sizes", expand=["sha"])["siblings"] is None


def test_a_renamed_repo_is_followed_to_its_new_name(hub: LoopbackHub, client: Client) -> None:
    hub.add_repo("acme/old", {"config.json": b"{}"})
    hub.rename("acme/old", "acme/new")
    assert client.call("model_info", "acme/old", revision="main")["id"] == "acme/new"
    client.call("auth_check", "acme/old")
    path = Path(client.call("hf_hub_download", "acme/old", "config.json"))
    assert path.read_bytes() == b"{}"
    assert "models--acme--old" in path.parts


def test_every_page_of_a_tree_is_listed(hub: LoopbackHub, client: Client) -> None:
    files = {f"shard-{i:02}.bin": bytes([i]) for i in range(10)} | {"sub/deep/a.txt": b"a"}
    hub.add_repo("acme/many", files)
    hub.requests.clear()
    tree = client.call("list_repo_tree", "acme/many", recursive=True)
    assert [entry["path"] for entry in tree] == sorted([*files, "sub", "sub/deep"])
    assert len(hub.requests) > 1
    top = client.call("list_repo_tree", "acme/many")
    assert [entry["path"] for entry in top] == sorted([*files, "sub"])[:-1]
    deep = client.call("list_repo_tree", "acme/many", "sub/deep")
    assert [entry["path"] for entry in deep] == ["sub/deep/a.txt"]


def test_paths_info_tells_of_files_and_folders_that_exist(
    hub: LoopbackHub, client: Client
) -> None:
    hub.add_repo("acme/paths", {"sub/a.txt": b"abc", "b.bin": b"b"})
    found = client.call("get_paths_info", "acme/paths", ["sub", "sub/a.txt", "b.bin", "none"])
    assert [entry["path"] for entry in found] == ["sub", "sub/a.txt", "b.bin"]


def test_old_commits_tags_and_pull_requests_stay_readable(
    hub: LoopbackHub, client: Client
) -> None:
    first = hub.add_repo("acme/history", {"config.json": b"1", "kept.txt": b"kept"})
    hub.tag("acme/history", "v1")
    second = hub.commit("acme/history", {"config.json": b"2"})
    proposed = hub.commit("acme/history", {"config.json": b"3"}, branch="refs/pr/1")
    for revision, sha, content in [
        (first, first, b"1"),
        ("v1", first, b"1"),
        ("main", second, b"2"),
        ("refs/pr/1", proposed, b"3"),
    ]:
        info = client.call("model_info", "acme/history", revision=revision)
        assert info["sha"] == sha
        assert len(info["siblings"]) == 2
        file = client.call("hf_hub_download", "acme/history", "config.json", revision=revision)
        assert Path(file).read_bytes() == content

    refs = client.call("list_repo_refs", "acme/history", include_pull_requests=True)
    assert [ref["target_commit"] for ref in refs["branches"]] == [second]
    assert [(ref["name"], ref["target_commit"]) for ref in refs["tags"]] == [("v1", first)]
    assert [ref["target_commit"] for ref in refs["pull_requests"]] == [proposed]


def test_the_same_content_has_the_same_commit(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_bytes(b"a")
    from_directory = hub.add_repo("acme/twin", tmp_path)
    hub.delete("acme/twin")
    assert hub.add_repo("acme/twin", {"sub/a.txt": b"a"}) == from_directory
    assert hub.commit("acme/twin", {"sub/a.txt": b"b"}) != from_directory


def test_whoami_knows_a_token(hub: LoopbackHub, client: Client) -> None:
    token = hub.add_account("erin")
    assert client.call("whoami", token=token)["name"] == "erin"
    hub.expire(token)
    assert client.failure("whoami", token=token).status == 401


def _safetensors() -> bytes:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]},
            "b": {"dtype": "F32", "shape": [5], "data_offsets": [24, 44]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(44)
