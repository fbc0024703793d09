"""The last event of the download process arrives, whatever the disk does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_FAILS = """
import sys
from router.downloads.child_events import ChildEvents
from router.errors import StorageFailed

events = ChildEvents(1)
events.audit("open", (sys.argv[1],))
events.fail(StorageFailed("The disk is read-only."), "the cause")
"""


@pytest.mark.process
def test_a_partial_file_that_can_not_be_removed_hides_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "blob.incomplete"  # fails as on a disk that is read-only
    ended = subprocess.run(
        [sys.executable, "-c", _FAILS, inside], stdout=subprocess.PIPE, check=True
    )
    partial, failed = map(json.loads, ended.stdout.splitlines())
    assert (partial["event"], failed["event"]) == ("partial", "failed")
    assert (failed["code"], failed["cause"]) == ("storage_failed", "the cause")
