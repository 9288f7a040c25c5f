"""Fixtures that every room's tests share."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(os.environ.get("STRIATE_SHARED", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder of real images at {SHARED}; set STRIATE_SHARED")
    return SHARED


@pytest.fixture(autouse=True)
def seed() -> int:
    """Every test draws the same numbers wherever and after whatever it runs; STRIATE_TEST_SEED tries others."""
    number = int(os.environ.get("STRIATE_TEST_SEED", "0"))
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - other people's code draws from it
    torch.manual_seed(number)
    return number
