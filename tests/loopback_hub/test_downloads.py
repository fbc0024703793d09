"""Downloads of the real client: from the Hub, from the CDN, and after a broken connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.client import Client
from tests.loopback_hub.faults import Kind
from tests.loopback_hub.raw import ask

WEIGHTS = "model.safetensors"
# The client keeps received data in steps of 10 MiB, so half of this is worth resuming.
LARGE = bytes(range(256)) * (24 * 2**20 // 256)


def test_a_snapshot_comes_from_the_hub_and_its_cdn(
    hub: LoopbackHub, client: Client, tmp_path: Path
) -> None:
    files = {"config.json": b"{}", WEIGHTS: b"w" * 50_000, "sub/empty.txt": b""}
    sha = hub.add_repo("acme/whole", files, private=True)
    token = hub.add_account("acme")
    hub.requests.clear()
    path = client.call("snapshot_download", "acme/whole", token=token, cache_dir=tmp_path)
    snapshot = Path(path)
    assert snapshot.name == sha
    assert {name: (snapshot / name).read_bytes() for name in files} == files

    assert token not in repr(hub.requests)
    on_cdn = [request for request in hub.requests if request.path.startswith("/cdn/")]
    assert [(request.account, request.status) for request in on_cdn] == [(None, 200)]
    on_hub = [request for request in hub.requests if request not in on_cdn]
    assert {request.account for request in on_hub} == {"acme"}


def test_the_checksums_that_the_hub_tells_are_those_of_the_files(
    hub: LoopbackHub, client: Client, tmp_path: Path
) -> None:
    hub.add_repo("acme/sums", {"a.txt": b"a", WEIGHTS: b"w"})
    client.call("snapshot_download", "acme/sums", cache_dir=tmp_path)
    outcome = client.call("verify_repo_checksums", "acme/sums", cache_dir=tmp_path)
    assert (outcome["checked_count"], outcome["mismatches"]) == (2, [])


def test_a_download_resumes_where_its_body_was_cut(
    hub: LoopbackHub, client: Client, tmp_path: Path
) -> None:
    hub.add_repo("acme/large", {WEIGHTS: LARGE})
    hub.faults.add(f"/cdn/.*/{WEIGHTS}", "cut")
    hub.requests.clear()
    path = client.call("hf_hub_download", "acme/large", WEIGHTS, cache_dir=tmp_path)
    assert Path(path).read_bytes() == LARGE
    assert [r.status for r in hub.requests if r.path.startswith("/cdn/")] == [None, 206]


def test_a_small_file_that_was_cut_starts_over(
    hub: LoopbackHub, client: Client, tmp_path: Path
) -> None:
    hub.add_repo("acme/small", {"config.json": b"{} "})
    hub.faults.add("/acme/small/resolve/.*", "cut")
    hub.requests.clear()
    path = client.call("hf_hub_download", "acme/small", "config.json", cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"{} "
    assert [(r.method, r.status) for r in hub.requests] == [
        ("HEAD", 200),
        ("GET", None),
        ("GET", 200),
    ]


def test_a_reset_connection_is_tried_again(
    hub: LoopbackHub, client: Client, tmp_path: Path
) -> None:
    # Over TLS, Python reads a TCP reset as the end of the stream.
    hub.add_repo("acme/reset", {WEIGHTS: b"w"})
    hub.faults.add("/cdn/.*", "reset")
    hub.requests.clear()
    path = client.call("hf_hub_download", "acme/reset", WEIGHTS, cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"w"
    assert [r.status for r in hub.requests if r.path.startswith("/cdn/")] == [None, 200]


@pytest.mark.parametrize("kind", ["429", "500", "503"])
def test_a_file_that_is_not_cached_is_asked_for_twice(
    hub: LoopbackHub, client: Client, tmp_path: Path, kind: Kind
) -> None:
    repo = f"acme/trouble-{kind}"
    hub.add_repo(repo, {"config.json": b"{}"})
    hub.faults.add(f"/{repo}/resolve/.*", kind)
    hub.requests.clear()
    assert client.call("hf_hub_download", repo, "config.json", cache_dir=tmp_path)
    assert [(request.method, request.status) for request in hub.requests] == [
        ("HEAD", int(kind)),
        ("HEAD", 200),
        ("GET", 200),
    ]


@pytest.fixture
def cdn_url(hub: LoopbackHub) -> str:
    """A signed address of a file of ten bytes."""
    repo = f"acme/ten-{len(hub.requests)}"
    hub.add_repo(repo, {WEIGHTS: b"0123456789"})
    answer = ask(hub, "HEAD", f"/{repo}/resolve/main/{WEIGHTS}")
    assert answer.status == 302
    assert answer.headers["X-Linked-Size"] == "10"
    return str(answer.headers["Location"])


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
    ],
)
def test_the_cdn_serves_ranges(
    hub: LoopbackHub,
    cdn_url: str,
    *,
    asked: str,
    status: int,
    body: bytes | None,
    content_range: str,
) -> None:
    answer = ask(hub, "GET", cdn_url, headers={"Range": asked})
    assert (answer.status, answer.headers["Content-Range"]) == (status, content_range)
    assert body is None or answer.body == body


def test_the_cdn_wants_a_signature_and_no_token(hub: LoopbackHub, cdn_url: str) -> None:
    assert cdn_url.startswith(hub.cdn)
    assert ask(hub, "GET", cdn_url).body == b"0123456789"
    assert ask(hub, "GET", cdn_url[:-1] + "x").status == 403
    assert ask(hub, "GET", cdn_url.replace("Expires=", "Expires=9")).status == 403
    assert ask(hub, "GET", cdn_url.partition("?")[0]).status == 403
