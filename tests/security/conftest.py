"""Fixtures shared with other end-to-end tests: one Hub per module, over HTTP and jobs."""

from __future__ import annotations

from tests.e2e.conftest import caller
from tests.e2e_runpod.conftest import harness, pytest_runtest_makereport

__all__ = ["caller", "harness", "pytest_runtest_makereport"]
