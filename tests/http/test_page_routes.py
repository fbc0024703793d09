"""The operator's page: static files. With a key configured, anybody may read them."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from router.access.keyring import Keyring
from router.http.admin_routes import AdminRoutes
from router.http.page_routes import PageFile, PageRoutes, read_page
from router.secrets import Secret
from tests.http.test_admin_routes import FakeOperations, as_operator
from tests.http.test_server import serving

KEY, CALLERS = secrets.token_hex(16), secrets.token_hex(16)
FILES = {
    "index.html": PageFile(b"<!doctype html>", "text/html", '"1"'),
    "app.js": PageFile(b"run();", "text/javascript", '"2"'),
}


def routes() -> tuple[PageRoutes, AdminRoutes]:
    return PageRoutes(FILES), AdminRoutes(FakeOperations())


async def test_the_page_is_served_with_its_files() -> None:
    async with serving(operator=routes()) as running:
        for path, content_type in (("/ui/", "text/html"), ("/ui/app.js", "text/javascript")):
            async with running.client.get(path) as response:
                assert (response.status, response.content_type) == (200, content_type)
                assert response.charset == "utf-8"
                assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_its_short_address_leads_to_it_below_any_path() -> None:
    async with (
        serving(operator=routes()) as running,
        running.client.get("/ui", allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (308, "ui/")


async def test_it_may_run_and_reach_nothing_but_its_own_server() -> None:
    async with (
        serving(operator=routes()) as running,
        running.client.get("/ui/") as response,
    ):
        policy = response.headers["Content-Security-Policy"]
        rules = dict(one.strip().split(" ", 1) for one in policy.split(";"))
        assert rules.pop("img-src") == "'self' data:"
        assert {rules.pop(name) for name in ("script-src", "style-src", "connect-src")} == {
            "'self'"
        }
        assert rules.pop("require-trusted-types-for") == "'script'"
        assert set(rules.values()) == {"'none'"}
        assert rules.keys() >= {"default-src", "base-uri", "form-action", "frame-ancestors"}
        assert response.headers["Referrer-Policy"] == "no-referrer"


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async with serving(operator=routes()) as running:
        async with running.client.get("/ui/app.js") as response:
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "no-cache"
        headers = {"If-None-Match": tag}
        async with running.client.get("/ui/app.js", headers=headers) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with running.client.get("/ui/", headers=headers) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["/ui/other.js", "/ui/../app.py", "/ui/%2e%2e/state.py"])
async def test_there_are_no_other_files(path: str) -> None:
    async with serving(operator=routes()) as running, running.client.get(path) as response:
        assert response.status == 404


async def test_it_is_read_and_not_written() -> None:
    async with serving(operator=routes()) as running:
        async with running.client.head("/ui/") as response:
            assert response.status == 200
        async with running.client.post("/ui/") as response:
            assert response.status == 405


async def test_with_a_key_the_page_needs_none_and_what_it_shows_does() -> None:
    async with serving(operator=routes(), admin_key=Secret(KEY)) as running:
        async with running.client.get("/ui/") as response:
            assert response.status == 200
        async with running.client.get("/admin/state") as response:
            assert response.status == 401
        async with running.client.get("/admin/state", headers=as_operator(KEY)) as response:
            assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_with_a_key_nobody_is_told_of_as_the_operator_for_asking_for_the_page(
    caplog: pytest.LogCaptureFixture, method: str
) -> None:
    caplog.set_level("DEBUG", "router.requests")
    async with (
        serving(operator=routes(), admin_key=Secret(KEY)) as running,
        running.client.request(method, "/ui/") as response,
    ):
        await response.read()
    assert f"{method} /ui" in caplog.text
    assert "caller" not in caplog.text


async def test_the_page_exists_only_where_the_operators_routes_do() -> None:
    async with (
        serving(operator=routes(), keys=Keyring([CALLERS])) as running,
        running.client.get("/ui/", headers=as_operator(CALLERS)) as response,
    ):
        assert response.status == 404


async def test_no_web_page_of_another_site_may_load_it() -> None:
    async with serving(operator=routes(), admin_key=Secret(KEY)) as running:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://page.example"}):
            async with running.client.get("/ui/", headers=headers) as response:
                assert response.status == 403


def test_the_files_of_a_folder_are_read_by_their_kinds(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("a")
    (tmp_path / "app.js").write_text("b")
    (tmp_path / "notes.txt").write_text("c")
    files = read_page(tmp_path)
    assert files.keys() == {"index.html", "app.js"}
    assert files["app.js"].content_type == "text/javascript"
    assert files["app.js"].tag != files["index.html"].tag
