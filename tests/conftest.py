"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("STRIATE_SHARED", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder of real images at {SHARED}; set STRIATE_SHARED")
    return SHARED
