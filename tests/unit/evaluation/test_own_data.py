"""A provenance may be any JSON object: what striate did not write is not taken for the data of a run."""

import random

import pytest

from striate.evaluation.evaluate_model import own_data

GOOD = {
    "source": "digits", "fingerprint": "abc", "data_dir": None, "max_pixels": 100,
    "splits": {"digest": "def", "seed": 0, "validation_fraction": 0.1, "test_fraction": 0.1},
}  # fmt: skip
VALUES = [None, True, 0, -1, 0.5, 1e400, 10**5000, "", "x", "\0", "\ud800", [], [1], {}, {"a": None}, [[[]]]]


def test_what_a_run_wrote_is_taken():
    assert own_data({"data": GOOD}) == GOOD


@pytest.mark.parametrize(
    "provenance",
    [{}, {"data": {"source": "/tmp"}}, {"note": "mine"}, {"data": "digits"}, {"data": [GOOD]}, {"data": None}],
)
def test_anything_else_is_not(provenance):
    assert own_data(provenance) is None


def test_a_thousand_changes(seed):
    """Whatever one value becomes, the answer is the data or None, and all that is read of them is of its type."""
    draw = random.Random(seed)
    for _ in range(1000):
        data = GOOD | {"splits": dict(GOOD["splits"])}
        part = draw.choice([data, data["splits"]])
        part[draw.choice(list(part))] = draw.choice(VALUES)
        found = own_data({"data": data})
        if found is not None:
            assert isinstance(found["source"], str)
            assert isinstance(found["splits"]["seed"], int)
            assert 0 <= found["splits"]["test_fraction"] <= 1
