"""Fixtures of this room's tests."""

import pytest

from synthesis_cases import Small, make_small


@pytest.fixture
def small() -> Small:
    """In training mode, one weight frozen, a gradient there already: all of which must stay so."""
    return make_small()
