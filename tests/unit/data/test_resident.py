"""Images that lie on a device are those that would be read batch by batch."""

import numpy as np
import pytest
import torch

from striate.data.packed import PackedImages
from striate.data.resident import place_on, room_on
from striate.data.sampling import read_batch
from striate.errors import DataError, InputError

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (8, 10, 3), np.uint8) for _ in range(5)]


@pytest.mark.parametrize("size", [(8, 10), (5, 5)])
def test_batches_are_those_of_the_pack_copies_included(size):
    packed = PackedImages.from_images(IMAGES)
    twice = PackedImages(packed.pixels, packed.offsets[[0, 1, 1, 4, 3]], packed.shapes, 3, is_grey=False)
    for each in (packed, twice):
        resident = place_on(each, CPU, each.size_bytes)
        indices = np.array([4, 0, 2, 2])
        found = resident.batch(indices, size)
        assert torch.equal(found, read_batch(each, indices, size))
        assert found.is_contiguous()


def test_what_does_not_fit_or_has_several_sizes_stays_where_it_is():
    packed = PackedImages.from_images(IMAGES)
    assert place_on(packed, CPU, packed.size_bytes - 1) is None
    assert place_on(PackedImages.from_images([*IMAGES, IMAGES[0][:5]]), CPU, 10**9) is None
    assert place_on(object(), CPU, 10**9) is None
    assert room_on(CPU) == 0


def test_broken_images_and_none_are_refused():
    packed = PackedImages.from_images(IMAGES)
    broken = PackedImages(packed.pixels, packed.offsets, packed.shapes, 3, is_grey=False, broken={1: "is cut off"})
    resident = place_on(broken, CPU, 10**9)
    with pytest.raises(DataError, match=r"^image 1 was not packed: it is cut off$"):
        resident.batch(np.array([0, 1]), (8, 10))
    with pytest.raises(InputError, match=r"^expected the indices of at least one image"):
        resident.batch(np.array([], int), (8, 10))
