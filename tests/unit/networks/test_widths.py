"""Rounding of numbers of maps."""

import pytest

from striate.networks.widths import round_width


@pytest.mark.parametrize(("width", "rounded"), [(1, 8), (32, 32), (35.2, 32), (35.7, 40), (83, 80), (89, 88), (92, 96)])
def test_widths_are_multiples_of_eight_and_never_a_tenth_smaller(width: float, rounded: int) -> None:
    assert round_width(width) == rounded
