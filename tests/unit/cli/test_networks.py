"""Counts as people write them."""

import pytest

from striate.cli.networks import _parse_count
from striate.errors import InputError


@pytest.mark.parametrize(
    ("text", "count"),
    [("5M", 5_000_000), ("1.2G", 1_200_000_000), ("300k", 300_000), ("7", 7), ("2 b", 2 * 10**9), (None, None)],
)
def test_counts(text, count):
    assert _parse_count("--max-params", text) == count


@pytest.mark.parametrize("text", ["", "M", "-5M", "5T", "five"])
def test_what_is_no_count(text):
    with pytest.raises(InputError, match=r"--max-macs needs a count such as 300k, 5M or 1\.2G but got"):
        _parse_count("--max-macs", text)
