"""Random numbers of an image: known values of the generator, moments, independence of streams."""

import torch

from striate.robustness.draws import branch, image_keys, integers, normal, signs, uniform


def test_the_generator_is_splitmix64():
    """The first two numbers of seed 1234567, as the reference implementation in C gives them (top 24 bits)."""
    expected = [6457827717110365317 >> 40, 3203168211198807973 >> 40]
    drawn = uniform(torch.tensor([1234567]), (2,))
    assert (drawn * 2**24).long().tolist() == [expected]


def test_moments_and_range():
    keys = torch.arange(50)
    flat = uniform(keys, (1000,))
    assert flat.min() >= 0
    assert flat.max() < 1
    assert abs(flat.mean() - 0.5) < 0.005
    bell = normal(keys, (1000,))
    assert abs(bell.mean()) < 0.02
    assert abs(bell.std() - 1) < 0.02
    assert set(integers(keys, 3, (100,)).unique().tolist()) == {0, 1, 2}
    assert set(signs(keys, (100,)).unique().tolist()) == {-1, 1}
    assert (integers(keys, torch.arange(1, 51)) < torch.arange(1, 51)).all()


def test_streams_differ_and_repeat():
    keys = image_keys(torch.rand(20, 3, 4, 4), 0)
    assert len(keys.unique()) == 20
    assert not torch.equal(branch(keys, 0), branch(keys, 1))
    assert torch.equal(branch(keys, 1), branch(keys, 1))
    images = torch.rand(5, 3, 4, 4)
    assert torch.equal(image_keys(images, 7)[2:3], image_keys(images[2:3], 7))
    assert not torch.equal(image_keys(images, 7), image_keys(images, 8))
