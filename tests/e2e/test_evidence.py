"""The leak tests look everywhere that a file of the worker can hold a secret."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.evidence import Evidence, found


def test_a_secret_in_a_file_or_in_a_links_target_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of one")
    (tmp_path / "link").symlink_to("nowhere/of-another")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "loop").symlink_to(tmp_path)
    evidence = Evidence()
    evidence.see_files(tmp_path)
    secrets = {"one": "of one", "another": "of-another", "none": "of nobody"}
    assert found(secrets, *evidence.files.values()) == {"one", "another"}
