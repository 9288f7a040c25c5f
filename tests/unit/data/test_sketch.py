"""What a model file remembers of its training images: exact for few, a fair sample of many."""

import json

import numpy as np
import pytest

from striate.data.sketch import NUM_KEPT, Overlap, make_sketch, overlap


def hashes(num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, 16), dtype=np.uint8)


def test_few_images_are_all_known():
    trained, other = hashes(100, 0), hashes(50, 1)
    sketch = json.loads(json.dumps(make_sketch(trained)))
    assert overlap(sketch, trained) == Overlap(100, 100)
    assert overlap(sketch, other) == Overlap(0, 50)
    unreadable = np.zeros((3, 16), np.uint8)
    assert overlap(sketch, np.concatenate([trained[:7], other, unreadable])) == Overlap(7, 57)
    assert overlap(make_sketch(np.concatenate([trained, unreadable])), unreadable) == Overlap(0, 0)


def test_of_many_images_a_fair_sample_is_known():
    trained, other = hashes(40_000, 2), hashes(10_000, 3)
    found = overlap(make_sketch(trained), np.concatenate([trained[:10_000], other]))
    assert found.num_told == pytest.approx(20_000 * NUM_KEPT / 40_000, rel=0.15)
    assert found.num_found / found.num_told == pytest.approx(0.5, abs=0.06)
    assert len(json.dumps(make_sketch(trained))) < 25_000


@pytest.mark.parametrize(
    "damaged", [None, 3, {}, {"hashes": 1}, {"hashes": "!"}, {"hashes": "AAAA", "is_complete": True}]
)
def test_a_damaged_sketch_tells_nothing(damaged):
    assert overlap(damaged, hashes(10, 0)) == Overlap(0, 0)
