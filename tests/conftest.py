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


TESTS = Path(__file__).parent
TAKES_LONG = (
    "end_to_end", "oracle", "published", "contract/test_attacks.py", "contract/test_channels.py",
    "contract/test_check_network.py",
    "contract/test_export_and_compile.py", "contract/test_exports.py", "contract/test_networks.py",
    "contract/test_surroundings.py",
    "unit/compression", "unit/engines", "unit/explanation", "unit/export", "unit/networks/families", "unit/recipes",
    "unit/robustness",
    "unit/synthesis", "unit/training/distributed", "unit/training/frozen", "unit/training/speed",
    "unit/training/test_cuda.py",
    "unit/training/test_loop.py", "unit/training/test_resume.py",
)  # fmt: skip
"""What trains, exports, compiles, starts processes or goes over many networks: folders and files that `make check`
leaves out.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what takes long, and what no test says of itself."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if any(place == each or place.startswith(f"{each}/") for each in TAKES_LONG):
            item.add_marker(pytest.mark.slow)
