"""From packed images to batches: the order of an epoch, its batches, their pixels.

Nothing here keeps state. The order of an epoch is a function of the seed and the epoch, and the crops of a batch are a
function of the generator given, so that a run can be taken up anywhere.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from striate.data.packed import PackedImages, PreparedImages
from striate.data.preprocessing import center, crop_center
from striate.errors import InputError

CROP_ASPECT = (3 / 4, 4 / 3)
"""Smallest and largest width : height of a random crop."""
ASPECT_CHANGE = 9 / 8
"""By so much at most the aspect of a random crop differs from that of what it is resized to, where crops keep aspects.
"""
_CROP_TRIES = 10
# what PyTorch's `interpolate` calls, which itself has no `out`
_resize: Callable[..., Tensor] = torch._C._nn._upsample_bilinear2d_aa


def epoch_order(
    train_indices: np.ndarray, labels: np.ndarray, *, seed: int, epoch: int, use_balanced_sampling: bool = False
) -> np.ndarray:
    """The training images in the order of this epoch, int64, as many as `train_indices`; equal for equal arguments.

    `labels` (N,) are those of the whole dataset. Without balanced sampling every image comes once. With it every class
    comes equally often (give or take one): images of a rare class come several times, all of them before any comes
    again.
    """
    if seed < 0 or epoch < 0:
        raise InputError(f"seed and epoch must be at least 0 but are {seed} and {epoch}")
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    train_indices = np.asarray(train_indices, np.int64)
    if use_balanced_sampling:
        train_indices = _balance(train_indices, np.asarray(labels)[train_indices], bits)
    return _shuffle(train_indices, bits)


def stream_order(
    train_indices: np.ndarray, regions: np.ndarray, *, seed: int, epoch: int, num_together: int
) -> np.ndarray:
    """As `epoch_order`, but few `regions` (N,) are open at a time: what lies in one is read within a short while.

    Regions come in a new random order each epoch; as many as hold `num_together` training images make a group, and each
    group is shuffled. Where one group holds all, the order is that of `epoch_order`.
    """
    train_indices = np.asarray(train_indices, np.int64)
    if len(train_indices) <= num_together:
        return epoch_order(train_indices, regions, seed=seed, epoch=epoch)
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    names, region_of, counts = np.unique(regions[train_indices], return_inverse=True, return_counts=True)
    order = _shuffle(np.arange(len(names)), bits)
    ends = np.cumsum(counts[order])
    group_of = np.empty(len(names), np.int64)
    group_of[order] = (ends - counts[order]) // num_together
    shuffled = _shuffle(np.arange(len(train_indices)), bits)
    return train_indices[shuffled[np.argsort(group_of[region_of[shuffled]], kind="stable")]]


def batch_bounds(num_images: int, batch_size: int, *, smallest: int = 2) -> list[tuple[int, int]]:
    """(start, stop) of each batch of an epoch; a last batch with fewer than `smallest` images joins the one before it.

    The default keeps a last batch of one from batch norm, which has no variance to divide by. Several processes, each
    with its share of every batch, ask for `smallest` = their number. A smaller `batch_size` is kept as asked.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1 but is {batch_size}")
    if batch_size > num_images:
        raise InputError(
            f"batch_size is {batch_size} but there are only {num_images} training images; ask for at most {num_images}"
        )
    starts = list(range(0, num_images, batch_size))
    if num_images - starts[-1] < min(smallest, batch_size):
        starts.pop()
    return list(zip(starts, [*starts[1:], num_images], strict=True))


@dataclass(frozen=True)
class BatchSlice:
    """The slice of a batch that one process takes: those from `start` up to `stop` of `total`."""

    start: int
    stop: int
    total: int


def batch_slice(total: int, rank: int, world_size: int) -> BatchSlice:
    """The part of a batch for process `rank` of `world_size`; parts differ by at most one image and never are empty."""
    if not 0 <= rank < world_size:
        raise InputError(f"rank must lie in [0, {world_size - 1}] but is {rank}")
    if total < world_size:
        raise InputError(
            f"a batch of {total} images cannot be shared by {world_size} processes; "
            "use a larger batch_size or fewer processes"
        )
    least, left_over = divmod(total, world_size)
    start = rank * least + min(rank, left_over)
    return BatchSlice(start, start + least + (rank < left_over), total)


def read_batch(packed: PreparedImages, indices: np.ndarray, size: tuple[int, int]) -> Tensor:
    """The centre (height, width) = `size` of each image: uint8 (n, C, height, width), contiguous, a copy."""
    check_usable(packed, indices)
    if not isinstance(packed, PackedImages) or packed.uniform_shape is None:
        return _stack([crop_center(packed.image(index), size) for index in indices])
    height, width = packed.uniform_shape
    rows = packed.pixels.reshape(-1, height, width, packed.channels)
    row_numbers = packed.offsets[indices] // (height * width * packed.channels)
    return _to_tensor(rows[row_numbers, *center((height, width), size)])


def read_random_crops(
    packed: PreparedImages,
    indices: np.ndarray,
    size: tuple[int, int],
    scale: tuple[float, float],
    generator: torch.Generator,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """A random part of each image, resized to (height, width) = `size`: uint8 (n, C, height, width).

    The resizing is bilinear and antialiased, see `read_crops`. The part's area is a share in [low, high] = `scale` of
    the packed image's area, as in `random_crop_boxes`.
    """
    return read_crops(packed, indices, size, random_crop_boxes(packed.shapes[indices], scale, generator), memory_format)


def read_crops(
    packed: PreparedImages,
    indices: np.ndarray,
    size: tuple[int, int],
    boxes: np.ndarray,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """That part of each image, (n, 4) (top, left, height, width), resized to `size`: uint8 (n, C, height, width).

    PyTorch resizes, with the same filter as Pillow in a fraction of the time; they differ by one grey level at most.
    """
    shape = (len(indices), packed.channels, *size)
    crops = torch.empty(shape, dtype=torch.uint8, memory_format=memory_format)
    for place, crop in enumerate(each_crop(packed, indices, size, boxes)):
        crops[place] = crop[0]
    return crops


def each_crop(
    packed: PreparedImages, indices: np.ndarray, size: tuple[int, int], boxes: np.ndarray
) -> Iterator[Tensor]:
    """Yield what `read_crops` gives, image by image, each (1, C, height, width) and channels last in memory; the next
    overwrites it.
    """
    check_usable(packed, indices)
    parts: Iterable[Tensor] = _parts(packed, indices, boxes)
    if isinstance(packed, PackedImages):
        parts = _packed_parts(packed, indices, boxes)
    crop = torch.empty((1, packed.channels, *size), dtype=torch.uint8, memory_format=torch.channels_last)
    for part in parts:
        yield _resize(part, size, False, None, out=crop)


def _parts(packed: PreparedImages, indices: np.ndarray, boxes: np.ndarray) -> Iterator[Tensor]:
    """These parts of the images, not resized: (1, C, h, w), channels last in memory."""
    for index, (top, left, height, width) in zip(indices.tolist(), boxes.tolist(), strict=True):
        part = torch.from_numpy(packed.image(index)[top : top + height, left : left + width].copy())
        yield part.unsqueeze(0).permute(0, 3, 1, 2)


def _packed_parts(packed: PackedImages, indices: np.ndarray, boxes: np.ndarray) -> list[Tensor]:
    """The same by views of the pack, one short call an image: threads that read ahead wait for one another at every
    call.
    """
    parts = []
    pixels, channels = _as_tensor(packed.pixels), packed.channels
    starts, widths = packed.offsets[indices].tolist(), packed.shapes[indices, 1].tolist()
    for start, whole, (top, left, height, width) in zip(starts, widths, boxes.tolist(), strict=True):
        first = start + (top * whole + left) * channels
        row = whole * channels
        parts.append(pixels.as_strided((1, channels, height, width), (height * row, 1, row, channels), first))
    return parts


def takes_turns(indices: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Choose the images mirrored in `epoch`, (n,) bool: each begins as seed and image decide, half of them one way, and
    then takes turns, so that any two epochs show both (alternating flip; arXiv:2404.00498, section 3.6).

    The bit is that of SplitMix64 (Steele, Lea & Flood 2014), so that a billion images need no memory for it. The seed
    is mixed before the images are counted from it: neighbouring seeds would give one pattern shifted by one image.
    """
    start = _split_mix(np.array([seed], np.uint64))
    begins = (_split_mix(indices.astype(np.uint64) + start) >> np.uint64(33)) & np.uint64(1)
    return (begins + np.uint64(epoch)) % np.uint64(2) == 1


def _split_mix(numbers: np.ndarray) -> np.ndarray:
    """Output number n + 1 of SplitMix64 seeded with 0, for each n of an array of uint64."""
    bits = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def random_crop_boxes(
    shapes: np.ndarray,
    scale: tuple[float, float],
    generator: torch.Generator,
    *,
    aspect: tuple[float, float] = CROP_ASPECT,
) -> np.ndarray:
    """(top, left, height, width), int64 (n, 4), of a random part of each image of `shapes` (n, 2) (height, width).

    As in Inception's training (arXiv:1409.4842, section 6) and torchvision's RandomResizedCrop: the area is uniform in
    `scale`, the logarithm of the aspect, width : height, uniform in that of `aspect`; the first of ten tries that fits
    into the image is placed uniformly. Where none fits, the whole image is taken, its overlong ends cut.
    """
    shapes = np.asarray(shapes, np.int64)
    num_draws = (4, len(shapes), _CROP_TRIES)
    draws = torch.rand(num_draws, generator=generator, device=generator.device, dtype=torch.float32)
    of_area, of_aspect, of_top, of_left = draws.cpu().to(torch.float64).numpy()
    heights, widths = shapes[:, :1], shapes[:, 1:]
    low, high = map(math.log, aspect)
    areas = heights * widths * (scale[0] + (scale[1] - scale[0]) * of_area)
    aspects = np.exp(low + (high - low) * of_aspect)
    crop_heights, crop_widths = np.rint(np.sqrt(areas / aspects)), np.rint(np.sqrt(areas * aspects))
    rooms = heights - crop_heights, widths - crop_widths
    fits = np.minimum(np.minimum(*rooms), np.minimum(crop_heights, crop_widths) - 1) >= 0
    tries = (of_top * (rooms[0] + 1), of_left * (rooms[1] + 1), crop_heights, crop_widths)
    first = np.arange(len(shapes)), fits.argmax(1)
    boxes = np.stack([each[first] for each in tries], 1).astype(np.int64)
    for place in np.flatnonzero(~fits[first]).tolist():
        height, width = shapes[place].tolist()
        boxes[place] = _widest_box(height, width, aspect)
    return boxes


def _widest_box(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int, int, int]:
    """The whole image, its overlong ends cut."""
    crop_height = min(height, max(1, round(width / aspect[0])))
    crop_width = min(width, max(1, round(height * aspect[1])))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def check_usable(packed: PreparedImages, indices: np.ndarray) -> None:
    """InputError for no image at all, DataError with the reason for one that could not be decoded."""
    if not len(indices):
        raise InputError("expected the indices of at least one image but got none")
    for index in indices[~packed.usable[indices]]:
        packed.image(int(index))  # raises with the reason


def _shuffle(indices: np.ndarray, bits: np.random.PCG64) -> np.ndarray:
    """A random permutation, by sorting raw bits: NumPy keeps their stream, not its shuffles, between versions."""
    return indices[np.argsort(bits.random_raw(len(indices)), kind="stable")]


def _balance(indices: np.ndarray, labels: np.ndarray, bits: np.random.PCG64) -> np.ndarray:
    """As many indices as given, each class present equally often; which classes get one more is drawn too."""
    classes = _shuffle(np.unique(labels), bits)
    quotas = np.full(len(classes), len(indices) // max(1, len(classes)))
    quotas[: len(indices) - quotas.sum()] += 1
    chosen = []
    for label, quota in zip(classes, quotas, strict=True):
        members = indices[labels == label]
        rounds = [_shuffle(members, bits) for _ in range(math.ceil(quota / len(members)))]
        chosen.append(np.concatenate([*rounds, members[:0]])[:quota])
    return np.concatenate([*chosen, indices[:0]])


def _as_tensor(pixels: np.ndarray) -> Tensor:
    """The same memory, to be read only; `from_numpy` would warn that it is read-only."""
    return torch.from_dlpack(pixels)


def _stack(images: list[np.ndarray]) -> Tensor:
    return _to_tensor(np.stack(images))


def _to_tensor(images: np.ndarray) -> Tensor:
    """(n, h, w, C) that nobody else holds -> contiguous (n, C, h, w)."""
    tensor = torch.from_numpy(images)
    if (
        images.shape[3] == 1
    ):  # torch would call it contiguous with the strides of channels last, and convolutions would go on so
        return tensor.view(len(images), 1, *images.shape[1:3])
    return tensor.permute(0, 3, 1, 2).contiguous()
