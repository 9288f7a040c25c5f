"""Progressive resizing: sizes by hand, over a whole run, and in the batches themselves."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from striate.data.augmentation import Augmentation
from striate.errors import InputError
from striate.training.growing import FULL_FROM, growing_size
from striate.training.recipe import OptimizerConfig
from training_cases import full_recipe, tiny_feed, tiny_recipe

CPU = torch.device("cpu")


def test_sides_rise_evenly_in_four_stages():
    """20, 24, 28 and 32 pixels, the last from seven tenths of the run on."""
    found = [growing_size((32, 32), 20, progress / 30) for progress in range(30)]
    assert found == [(side, side) for side in [20] * 7 + [24] * 7 + [28] * 7 + [32] * 9]


def test_sides_between_are_multiples_of_four_and_keep_the_aspect():
    assert [growing_size((128, 128), 90, progress)[0] for progress in (0, 0.3, 0.6, 0.8)] == [90, 104, 116, 128]
    assert growing_size((100, 200), 50, 0) == (50, 100)


def test_zero_means_no_growth():
    assert {growing_size((32, 32), 0, progress / 10) for progress in range(10)} == {(32, 32)}


@given(full=st.tuples(st.integers(1, 400), st.integers(1, 400)), share=st.floats(0, 1), progress=st.floats(0, 0.999999))
def test_sizes_never_shrink_and_end_full(full, share, progress):
    start = max(1, int(share * min(full)))
    sizes = [growing_size(full, start, at) for at in (0.0, progress / 2, progress)]
    assert min(sizes[0]) == start
    for before, after in itertools.pairwise(sizes):
        assert all(earlier <= later for earlier, later in zip(before, after, strict=True))
    assert all(side <= end for side, end in zip(sizes[-1], full, strict=True))
    assert progress < FULL_FROM or sizes[-1] == full


def test_batches_grow_and_are_those_of_full_size_resized():
    """Pixels are the very ones that the run would see at full size, made smaller by torch's antialiased filter."""
    loader = tiny_feed()
    height, width = loader.preprocessing.crop_size
    plain = tiny_recipe(epochs=4, augmentation=Augmentation(flip=True, shift_px=1))
    growing = dataclasses.replace(plain, start_px=2)
    seen = []
    for epoch in range(4):
        for own, full in zip(
            loader.train_batches(growing, epoch, CPU), loader.train_batches(plain, epoch, CPU), strict=True
        ):
            size = tuple(own.images.shape[2:])
            seen.append(size)
            expected = full.images
            if size != (height, width):
                expected = torch.nn.functional.interpolate(expected, size, mode="bilinear", antialias=True)
            assert torch.equal(own.images, expected)
            assert torch.equal(own.targets, full.targets)
    assert seen == sorted(seen)
    assert min(seen[0]) == growing.start_px
    assert seen[-1] == (height, width)
    assert len(set(seen)) > 2  # 2, 4 (both stages between) and 8


def test_a_growing_batch_depends_on_its_place_alone():
    recipe = full_recipe(start_px=6)
    whole = list(tiny_feed().train_batches(recipe, 1, CPU))
    rest = list(tiny_feed().train_batches(recipe, 1, CPU, first_batch=3))
    shares = [list(tiny_feed().train_batches(recipe, 1, CPU, rank=rank, world_size=2)) for rank in (0, 1)]
    for first, second in zip(whole[3:], rest, strict=True):
        assert torch.equal(first.images, second.images)
    for first, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(first.images, torch.cat([part.images for part in parts]))


@pytest.mark.parametrize(
    "others", [{"use_compile": True}, {"freeze": "base", "views": 2}, {"optimizer": OptimizerConfig("lbfgs")}]
)
def test_what_wants_one_size_is_refused(others):
    with pytest.raises(InputError, match="images that grow go without compiled code"):
        tiny_recipe(start_px=8, **others)
