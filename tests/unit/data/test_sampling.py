"""Order, batches, crops and reading ahead, on sets small enough to see through."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from striate.data.packed import PackedImages
from striate.data.sampling import (
    BatchSlice,
    batch_bounds,
    batch_slice,
    epoch_order,
    random_crop_boxes,
    read_batch,
    read_crops,
    read_random_crops,
    stream_order,
    takes_turns,
)
from striate.errors import DataError, InputError


def make_images(shapes: list[tuple[int, int]], channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, channels), np.uint8) for height, width in shapes]


RAGGED = make_images([(8, 8), (8, 13), (11, 8), (9, 9)])
UNIFORM = make_images([(8, 10)] * 5)


def with_broken(images: list[np.ndarray], broken: int) -> PackedImages:
    """A pack in which one image more, at index `broken`, could not be decoded."""
    whole = PackedImages.from_images(images)
    offsets, shapes = np.insert(whole.offsets, broken, 0), np.insert(whole.shapes, broken, 0, axis=0)
    return PackedImages(whole.pixels, offsets, shapes, whole.channels, whole.is_grey, {broken: "is cut off"})


# packed images


def test_packed_images_are_what_went_in() -> None:
    packed = PackedImages.from_images(RAGGED)
    assert len(packed) == 4
    assert packed.shapes.tolist() == [[8, 8], [8, 13], [11, 8], [9, 9]]
    assert packed.size_bytes == sum(image.size for image in RAGGED)
    assert packed.uniform_shape is None
    assert packed.usable.all()
    assert not packed.is_grey
    for index, image in enumerate(RAGGED):
        assert (packed.image(index) == image).all()


def test_packed_images_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        PackedImages.from_images(UNIFORM).image(0)[0, 0, 0] = 1


def test_broken_images_have_a_reason_and_no_say_in_the_shape() -> None:
    packed = with_broken(UNIFORM, 2)
    assert packed.uniform_shape == (8, 10)
    assert packed.usable.tolist() == [True, True, False, True, True, True]
    with pytest.raises(DataError, match=r"^image 2 was not packed: it is cut off$"):
        packed.image(2)
    assert (packed.image(3) == UNIFORM[2]).all()


def test_images_without_colour_are_grey() -> None:
    grey = make_images([(4, 4)] * 2, channels=1)
    assert PackedImages.from_images(grey).is_grey
    repeated = [np.repeat(image, 3, axis=2) for image in grey]
    assert PackedImages.from_images(repeated).is_grey
    repeated[1][3, 3, 2] ^= 1
    assert not PackedImages.from_images(repeated).is_grey


def test_only_images_of_one_kind_can_be_packed() -> None:
    with pytest.raises(InputError, match=r"^expected at least one image to pack but got none$"):
        PackedImages.from_images([])
    for other in (UNIFORM[1][..., :1], UNIFORM[1][..., 0], UNIFORM[1].astype(float)):
        for images in ([UNIFORM[0], other], [other, UNIFORM[0]]):
            with pytest.raises(
                InputError, match=r"^images to pack must be uint8 \(h, w, C\), all with one C, but there"
            ):
                PackedImages.from_images(images)


# the order of an epoch


@given(st.integers(1, 200), st.integers(0, 2**32), st.integers(0, 1000))
def test_every_image_comes_once(num_images: int, seed: int, epoch: int) -> None:
    train = np.arange(0, 3 * num_images, 3)
    labels = np.zeros(3 * num_images, np.int64)
    order = epoch_order(train, labels, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert sorted(order) == train.tolist()
    assert (order == epoch_order(train, labels, seed=seed, epoch=epoch)).all()


def test_seeds_and_epochs_give_orders_of_their_own() -> None:
    train, labels = np.arange(50), np.zeros(50, np.int64)
    orders = [epoch_order(train, labels, seed=seed, epoch=epoch) for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16


def test_the_order_is_that_of_earlier_versions() -> None:
    """A run that is taken up by a later version must go on as it began."""
    order = epoch_order(np.arange(8), np.zeros(8, int), seed=3, epoch=1)
    assert order.tolist() == [0, 6, 2, 1, 3, 7, 4, 5]
    labels = np.array([0] * 6 + [1] * 2)
    balanced = epoch_order(np.arange(8), labels, seed=3, epoch=1, use_balanced_sampling=True)
    assert balanced.tolist() == [1, 6, 7, 5, 4, 6, 7, 0]


def test_no_place_is_preferred() -> None:
    orders = np.stack([epoch_order(np.arange(5), np.zeros(5, int), seed=0, epoch=epoch) for epoch in range(2000)])
    for place in range(5):
        assert np.bincount(orders[:, place]).min() > 328  # 400 expected, four standard errors are 72


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 100))
def test_balanced_sampling_shows_every_class_equally_often(labels: list[int], epoch: int) -> None:
    classes = np.array(labels)
    train = np.arange(len(classes))
    order = epoch_order(train, classes, seed=1, epoch=epoch, use_balanced_sampling=True)
    assert len(order) == len(train)
    counts = np.bincount(classes[order])[np.unique(classes)]
    assert counts.max() - counts.min() <= 1
    for label in np.unique(classes):
        times = np.bincount(order, minlength=len(classes))[classes == label]
        assert times.max() - times.min() <= 1  # no image comes again before all of its class came


def test_balanced_sampling_reaches_all_images_of_a_large_class() -> None:
    labels = np.array([0] * 20 + [1] * 4)
    seen = [epoch_order(np.arange(24), labels, seed=0, epoch=e, use_balanced_sampling=True) for e in range(12)]
    assert len(np.unique(np.concatenate(seen))) == 24


def test_labels_are_those_of_the_whole_dataset() -> None:
    labels = np.array([9, 9, 0, 9, 1, 9])
    order = epoch_order(np.array([2, 4]), labels, seed=0, epoch=0, use_balanced_sampling=True)
    assert sorted(order) == [2, 4]


def test_no_images_have_an_empty_order() -> None:
    for balanced in (False, True):
        nobody = epoch_order(np.array([], int), np.array([], int), seed=0, epoch=0, use_balanced_sampling=balanced)
        assert nobody.tolist() == []


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(InputError, match=r"^seed and epoch must be at least 0 but are -1 and 2$"):
        epoch_order(np.arange(3), np.zeros(3, int), seed=-1, epoch=2)


# batches


@pytest.mark.parametrize(
    ("num_images", "batch_size", "smallest", "expected"),
    [
        (8, 4, 2, [(0, 4), (4, 8)]),
        (9, 4, 2, [(0, 4), (4, 9)]),
        (10, 4, 2, [(0, 4), (4, 8), (8, 10)]),
        (4, 4, 2, [(0, 4)]),
        (3, 2, 2, [(0, 3)]),
        (1, 1, 2, [(0, 1)]),
        (3, 1, 2, [(0, 1), (1, 2), (2, 3)]),
        (10, 4, 4, [(0, 4), (4, 10)]),
        (10, 4, 8, [(0, 4), (4, 10)]),
    ],
)
def test_a_last_batch_of_one_joins_the_batch_before(
    num_images: int, batch_size: int, smallest: int, expected: list[tuple[int, int]]
) -> None:
    assert batch_bounds(num_images, batch_size, smallest=smallest) == expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 8))
def test_batches_cover_all_images_in_order(num_images: int, batch_size: int, smallest: int) -> None:
    if batch_size > num_images:
        batch_size = num_images
    bounds = batch_bounds(num_images, batch_size, smallest=smallest)
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == num_images
    assert all(stop - start == batch_size for start, stop in bounds[:-1])
    assert bounds[-1][1] - bounds[-1][0] >= min(smallest, batch_size)


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"^batch_size is 64 but there are only 10 training images; ask for at most 10$"
    ):
        batch_bounds(10, 64)
    with pytest.raises(InputError, match=r"^batch_size must be at least 1 but is 0$"):
        batch_bounds(10, 0)


def test_shares_are_the_batch_in_parts() -> None:
    shares = [batch_slice(10, rank, 4) for rank in range(4)]
    assert [(share.start, share.stop, share.total) for share in shares] == [
        (0, 3, 10),
        (3, 6, 10),
        (6, 8, 10),
        (8, 10, 10),
    ]
    assert batch_slice(10, 0, 1) == BatchSlice(0, 10, 10)


def test_shares_that_would_be_empty_are_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"^a batch of 2 images cannot be shared by 3 processes; use a larger batch_size or fewer processes$",
    ):
        batch_slice(2, 0, 3)
    with pytest.raises(InputError, match=r"^rank must lie in \[0, 1\] but is 2$"):
        batch_slice(4, 2, 2)


# pixels


@pytest.mark.parametrize("images", [RAGGED, UNIFORM], ids=["ragged", "uniform"])
@pytest.mark.parametrize("size", [(8, 8), (5, 6), (1, 1)])
def test_batches_are_the_centres(images: list[np.ndarray], size: tuple[int, int]) -> None:
    indices = np.array([3, 0, 3, 1])
    batch = read_batch(PackedImages.from_images(images), indices, size)
    assert batch.dtype == torch.uint8
    assert batch.shape == (4, 3, *size)
    assert batch.is_contiguous()
    for pixels, index in zip(batch, indices, strict=True):
        top, left = (round((side - part) / 2) for side, part in zip(images[index].shape[:2], size, strict=True))
        expected = images[index][top : top + size[0], left : left + size[1]]
        assert (pixels.permute(1, 2, 0).numpy() == expected).all()


def test_uniform_images_are_found_past_a_broken_one_and_when_shared() -> None:
    packed = with_broken(UNIFORM, 0)
    shared = PackedImages(packed.pixels, packed.offsets[[1, 3, 1]], packed.shapes[[1, 3, 1]], 3, False)
    assert (read_batch(packed, np.array([5]), (8, 10))[0].permute(1, 2, 0).numpy() == UNIFORM[4]).all()
    batch = read_batch(shared, np.array([0, 1, 2]), (8, 10))
    assert torch.equal(batch[0], batch[2])
    assert (batch[1].permute(1, 2, 0).numpy() == UNIFORM[2]).all()


def test_a_batch_is_a_copy() -> None:
    packed = PackedImages.from_images(UNIFORM)
    read_batch(packed, np.arange(5), (8, 10)).zero_()
    assert (packed.image(0) == UNIFORM[0]).all()


READERS: list[Callable[[PackedImages, np.ndarray], torch.Tensor]] = [
    lambda packed, indices: read_batch(packed, indices, (4, 4)),
    lambda packed, indices: read_random_crops(packed, indices, (4, 4), (0.5, 1.0), torch.Generator()),
]


@pytest.mark.parametrize("read", READERS, ids=["batch", "crops"])
def test_broken_or_no_images_are_refused(read: Callable[[PackedImages, np.ndarray], torch.Tensor]) -> None:
    for images in (RAGGED, UNIFORM):
        with pytest.raises(DataError, match=r"^image 1 was not packed: it is cut off$"):
            read(with_broken(images, 1), np.array([0, 1]))
    with pytest.raises(InputError, match=r"^expected the indices of at least one image but got none$"):
        read(PackedImages.from_images(UNIFORM), np.array([], int))


def test_crops_larger_than_an_image_are_refused() -> None:
    for images in (RAGGED, UNIFORM):
        with pytest.raises(InputError, match=r"^cannot cut 9x9 pixels out of an image of 8x"):
            read_batch(PackedImages.from_images(images), np.array([0]), (9, 9))


def test_random_crops_follow_the_generator_alone() -> None:
    packed = PackedImages.from_images(RAGGED)
    crops = partial(read_random_crops, packed, np.array([0, 1, 2, 3]), (6, 5), (0.2, 1.0))
    first = crops(torch.Generator().manual_seed(1))
    assert first.shape == (4, 3, 6, 5)
    assert first.dtype == torch.uint8
    assert torch.equal(first, crops(torch.Generator().manual_seed(1)))
    assert not torch.equal(first, crops(torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("shape", [(30, 40), (17, 9), (6, 5)])
def test_crops_are_the_same_pixels_however_they_lie_in_memory(shape: tuple[int, int]) -> None:
    packed = PackedImages.from_images(make_images([shape] * 20))
    found = [
        read_random_crops(packed, np.arange(20), (6, 5), (0.1, 1.0), torch.Generator(), memory_format=layout)
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    assert found[0].is_contiguous()
    assert found[1].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(*found)


class Elsewhere:
    """A pack that is not known to be one."""

    def __init__(self, packed: PackedImages) -> None:
        self.packed = packed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.packed, name)

    def __len__(self) -> int:
        return len(self.packed)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_the_same_wherever_the_images_come_from(channels: int) -> None:
    packed = PackedImages.from_images(make_images([(30, 40), (17, 9), (6, 5), (8, 100)], channels))
    found = [
        read_random_crops(images, np.array([3, 0, 2, 1, 0]), (12, 7), (0.1, 1.0), torch.Generator())
        for images in (packed, Elsewhere(packed))
    ]
    assert torch.equal(*found)
    assert found[0].unique().numel() > 100


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_crop_is_what_pytorch_makes_of_its_part(channels: int) -> None:
    images = make_images([(60, 80), (33, 47), (90, 41)], channels)
    boxes = np.array([(5, 7, 50, 40), (0, 0, 33, 47), (80, 1, 10, 30)])
    crops = read_crops(PackedImages.from_images(images), np.arange(3), (24, 36), boxes)
    for image, (top, left, height, width), crop in zip(images, boxes.tolist(), crops, strict=True):
        part = torch.from_numpy(image[top : top + height, left : left + width]).permute(2, 0, 1)[None]
        assert torch.equal(crop, interpolate(part, (24, 36), mode="bilinear", antialias=True)[0])


def test_a_crop_of_the_whole_is_the_image() -> None:
    image = make_images([(6, 6)])
    packed = PackedImages.from_images(image)
    crop = read_random_crops(packed, np.array([0]), (6, 6), (1.0, 1.0), torch.Generator())
    assert (crop[0].permute(1, 2, 0).numpy() == image[0]).all()


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=8),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_crop_boxes_lie_inside(shapes: list[tuple[int, int]], high: float, share: float, seed: int) -> None:
    scale = (high * max(share, 0.01), high)
    boxes = random_crop_boxes(np.array(shapes), scale, torch.Generator().manual_seed(seed))
    top, left, height, width = boxes.T
    heights, widths = np.array(shapes).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top + height <= heights).all()
    assert (left + width <= widths).all()


# reading ahead


# the order of a stream


@given(
    num_images=st.integers(1, 400),
    num_regions=st.integers(1, 30),
    num_together=st.integers(1, 500),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_a_stream_has_every_image_once_and_few_regions_open(
    num_images: int, num_regions: int, num_together: int, seed: int, epoch: int
) -> None:
    regions = np.random.default_rng(num_images).integers(0, num_regions, 2 * num_images)
    train = np.arange(0, 2 * num_images, 2)
    order = stream_order(train, regions, seed=seed, epoch=epoch, num_together=num_together)
    assert (np.sort(order) == train).all()
    assert (order == stream_order(train, regions, seed=seed, epoch=epoch, num_together=num_together)).all()
    largest = np.unique(regions[train], return_counts=True)[1].max()
    for region in np.unique(regions[train]):  # all of it within its group
        places = np.flatnonzero(regions[order] == region)
        assert places[-1] - places[0] < num_together + largest


def test_a_stream_that_fits_together_is_in_the_usual_order() -> None:
    train, regions = np.arange(50), np.arange(50) // 10
    usual = epoch_order(train, regions, seed=3, epoch=1)
    assert (stream_order(train, regions, seed=3, epoch=1, num_together=50) == usual).all()
    assert (stream_order(train, regions, seed=3, epoch=1, num_together=49) != usual).any()


def test_regions_come_in_another_order_and_other_company_each_epoch() -> None:
    regions = np.repeat(np.arange(40), 25)
    orders = [stream_order(np.arange(1000), regions, seed=0, epoch=epoch, num_together=100) for epoch in (0, 1)]
    firsts = [set(regions[order[:100]]) for order in orders]
    assert [len(each) for each in firsts] == [4, 4]
    assert firsts[0] != firsts[1]
    within = regions[orders[0][:100]]
    assert (np.diff(within) != 0).sum() > 50  # and shuffled, not one region after the other


def test_images_take_turns_at_being_mirrored() -> None:
    """By hand with whole numbers, half of all images at a time, and neighbours independent of each other."""
    mask = 2**64 - 1

    def mixed(number: int) -> int:
        bits = (number + 1) * 0x9E3779B97F4A7C15 & mask
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & mask
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & mask
        return bits ^ bits >> 31

    def begins(index: int, seed: int) -> int:
        return mixed(index + mixed(seed) & mask) >> 33 & 1

    assert mixed(0) == 0xE220A8397B1DCDAF  # the first numbers of the authors' generator begun at 0
    assert mixed(1) == 0x6E789E6AA1B965F4

    for seed in (0, 5, 2**63 - 1):
        found = takes_turns(np.arange(200), seed=seed, epoch=0)
        assert found.tolist() == [begins(index, seed) == 1 for index in range(200)]
    many = takes_turns(np.arange(100_000), seed=7, epoch=0)
    assert abs(many.mean() - 0.5) < 0.01
    assert abs((many[1:] == many[:-1]).mean() - 0.5) < 0.01
    assert (takes_turns(np.arange(100_000), seed=7, epoch=1) != many).all()
    assert (takes_turns(np.array([5, 3, 5]), seed=7, epoch=4) == many[[5, 3, 5]]).all()


def test_neighbouring_seeds_mirror_independently() -> None:
    """They are not one pattern shifted by an image or by any other few."""
    one, other = (takes_turns(np.arange(10_000), seed=seed, epoch=0) for seed in (7, 8))
    for shift in range(-20, 21):
        first, second = one[20:-20], other[20 + shift : 10_000 - 20 + shift]
        assert abs((first == second).mean() - 0.5) < 0.03, shift
