"""Preprocessing of every image between its file and the network, as a value that travels in the model file.

Two stages. On one decoded image, in uint8: resize, then centre crop. On a batch, in float: scale, order of channels,
mean and standard deviation. Training, evaluation, prediction and export share both, so that an image is always seen the
same way.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from striate.data.mean_image import decode_mean_image
from striate.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Interpolation = Literal["bilinear", "bicubic", "lanczos"]
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_WIDEST_FILTER = 3
_NUM_TRIES = 16
MAX_RESIZE_PX = 4096
"""The longest `resize_size`, and so the longest side of a crop: with MAX_ASPECT some 34 million pixels."""
MAX_ASPECT = 2
"""After resizing, no side is kept longer than about this many times the short one: both ends are cut off."""


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing from image to network input.

    `resize` brings the short side ("short_side", aspect kept) or both sides ("stretch") to `resize_size` pixels, or the
    whole image to `crop_size` ("fit"), antialiased; then the centre of `crop_size` (height, width) is cut out. Pixels
    0..255 are multiplied by `scale`, put in `channel_order`, and `mean` is subtracted and `std` divided by, one number
    a channel, in the units after scaling and the order after ordering. `mean_image`, a PNG in base64 of `crop_size` and
    `channels` (see data.mean_image), is subtracted from the pixels before all that. Raises InputError when the parts do
    not fit together.
    """

    channels: int
    resize_size: int
    crop_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["short_side", "stretch", "fit"] = "short_side"
    interpolation: Interpolation = "bilinear"
    channel_order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255
    mean_image: str | None = None

    def __post_init__(self) -> None:
        for name, whole in (
            ("channels", (self.channels,)),
            ("resize_size", (self.resize_size,)),
            ("crop_size", self.crop_size),
        ):
            if not all(type(value) is int and value >= 1 for value in whole):
                raise InputError(f"{name} must be made of whole numbers of at least 1 but is {getattr(self, name)!r}")
        if self.resize_size > MAX_RESIZE_PX:
            raise InputError(f"resize_size {self.resize_size} is over the limit of {MAX_RESIZE_PX} pixels")
        for name, real in (("mean", self.mean), ("std", self.std), ("scale", (self.scale,))):
            if not all(isinstance(value, float | int) and math.isfinite(value) for value in real):
                raise InputError(f"{name} must be made of finite numbers but is {getattr(self, name)!r}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise InputError(
                f"preprocessing needs one mean and one std a channel but has {self.channels} channels, "
                f"{len(self.mean)} means and {len(self.std)} stds"
            )
        if self.resize not in ("short_side", "stretch", "fit") or self.interpolation not in _FILTERS:
            raise InputError(
                f"preprocessing cannot resize by {self.resize!r} with {self.interpolation!r} interpolation; "
                f"it knows short_side, stretch and fit with {', '.join(_FILTERS)}"
            )
        if self.channel_order not in ("RGB", "BGR") or (self.channel_order == "BGR" and self.channels != 3):
            raise InputError(f"channel order {self.channel_order!r} does not fit {self.channels} channels")
        if len(self.crop_size) != 2 or self.resize_size < max(self.crop_size):
            raise InputError(
                f"a crop of {self.crop_size} pixels does not fit into images resized to {self.resize_size}"
            )
        if not min(*self.std, self.scale) > 0:
            raise InputError(f"scale and every std must be above 0 but they are {self.scale} and {self.std}")
        if self.mean_image is not None:
            self._mean_pixels()

    def resize_image(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """The image (H, W, C) uint8, resized and its overlong ends cut: (h, w, C) uint8. This is what gets packed.

        A Pillow image, of mode "L" or "RGB", need not be copied for it.
        """
        before = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
        size, kept = self.resized_size(*before), self.packed_size(*before)
        if size == before and size != kept and isinstance(image, Image.Image):
            rows, columns = center(before, kept)
            return _as_pixels(_cut(image, rows, columns))
        if size == before:
            return crop_center(_as_pixels(image), kept)
        if kept == size:
            return resample(image, size, self.interpolation)
        top, left = (size[0] - kept[0]) // 2, (size[1] - kept[1]) // 2
        return resample(image, size, self.interpolation, window=(top, left, *kept))

    def resize_images(self, images: np.ndarray) -> np.ndarray:
        """`resize_image` for many images of one size at once: (n, H, W, C) uint8 -> (n, h, w, C) uint8, the same
        pixels.
        """
        size, kept = self.resized_size(*images.shape[1:3]), self.packed_size(*images.shape[1:3])
        if size == kept != images.shape[1:3]:
            return resample_alike(images, size, self.interpolation)
        return np.stack([self.resize_image(image) for image in images])

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after resizing, before anything is cut; torchvision's rounding."""
        size = self.resize_size
        if self.resize == "fit":
            return self.crop_size
        if self.resize == "stretch":
            return size, size
        if height <= width:
            return size, int(size * width / height)
        return int(size * height / width), size

    def packed_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what `resize_image` gives for an image of this height and width."""
        resized_height, resized_width = self.resized_size(height, width)
        return self._kept(resized_height), self._kept(resized_width)

    def to_pixels(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """One decoded image (H, W, C) uint8, or Pillow's -> (crop height, crop width, C) uint8."""
        return crop_center(self.resize_image(image), self.crop_size)

    def normalize(self, images: "Tensor") -> "Tensor":
        """A batch (N, C, H, W) of pixels 0..255, uint8 or float -> float32 as the network wants it."""
        import torch  # here, because whoever answers by another engine prepares images without it

        from striate.data.to_device import send

        if images.ndim != 4 or images.shape[1] != self.channels:
            raise InputError(
                f"expected images (N, {self.channels}, H, W) but got {tuple(images.shape)}; "
                "give pixels 0..255 with the model's number of channels"
            )
        if self.mean_image is not None:
            mean_pixels = send(torch.tensor(self._mean_pixels(), dtype=torch.float32), images.device)
            images = images - mean_pixels.permute(2, 0, 1)
        if self.channel_order == "BGR":
            images = images.flip(1)
        # one multiplication and one addition a pixel: (pixel * scale - mean) / std
        gain, offset = _numbers_on(images.device, self._gains_and_offsets).view(2, 1, -1, 1, 1)
        floats = images.to(torch.float32)
        width, is_channels_last = images.shape[3], not floats.is_contiguous()
        is_channels_last &= floats.is_contiguous(memory_format=torch.channels_last)
        values = floats
        if is_channels_last:  # (N, H, W * C): a row at once is five times as fast as pixels
            values = floats.permute(0, 2, 3, 1).flatten(2)
            gain, offset = _numbers_on(images.device, self._gains_and_offsets, width).view(2, -1)
        scaled = values * gain if floats is images else values.mul_(gain)  # in place, but never in the caller's own
        scaled.add_(offset)
        return scaled.unflatten(2, (width, self.channels)).permute(0, 3, 1, 2) if is_channels_last else scaled

    def normalize_one_by_one(self, images: "Iterable[Tensor]", batch: "Tensor") -> None:
        """Fill `batch` (N, C, H, W) float32 with what `normalize` makes of N images (1, C, H, W), to rounding, each
        while it is in the processor's cache: half the time for large ones. It calls PyTorch but once an image, since
        threads that read ahead wait for one another at each call.
        """
        import torch

        is_simple = self.mean_image is None and self.channel_order == "RGB"
        if not (is_simple and batch.is_contiguous(memory_format=torch.channels_last)):
            for place, image in zip(batch.split(1), images, strict=True):
                place.copy_(self.normalize(image))
            return
        width = batch.shape[3]
        rows = _numbers_on(batch.device, self._gains_and_offsets, width).view(2, 1, 1, width, self.channels)
        gain, offset = rows.permute(0, 1, 4, 2, 3)  # (1, C, 1, W) each, but one row in memory
        for place, image in zip(batch.split(1), images, strict=True):
            torch.addcmul(offset, image, gain, out=place)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`; InputError for unknown or missing fields."""
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict):
            raise InputError(f"preprocessing must be a table of named values but is {values!r}")
        if unknown := set(values) - known:
            raise InputError(f"preprocessing has unknown fields: {', '.join(sorted(unknown))}")
        try:
            tuples = {key: tuple(values[key]) for key in ("crop_size", "mean", "std")}
            return cls(**{**values, **tuples})
        except (KeyError, TypeError) as error:
            raise InputError(f"preprocessing is incomplete: {error}") from None

    @functools.cached_property
    def _gains_and_offsets(self) -> tuple[float, ...]:
        """The gain and the offset of each channel."""
        gains = (self.scale / std for std in self.std)
        return (*gains, *(-mean / std for mean, std in zip(self.mean, self.std, strict=True)))

    def _mean_pixels(self) -> np.ndarray:
        """The mean image, (crop height, crop width, C) uint8."""
        return decode_mean_image(self.mean_image or "", self.crop_size, self.channels)

    def _kept(self, length: int) -> int:
        """Length of a resized side that is kept: all, or MAX_ASPECT short sides and up to three pixels more.

        A multiple of four is cut off, so that the centre of what is left, after any rounding, is the centre of the
        whole.
        """
        return length - max(0, length - MAX_ASPECT * self.resize_size) // 4 * 4


@functools.lru_cache(maxsize=64)
def _numbers_on(device: "torch.device", numbers: tuple[float, ...], width: int = 1) -> "Tensor":
    """The gains and offsets as float32 on a device, (2, width * C), pixel for pixel. They are kept: making them takes
    longer than normalising a small image, and a CUDA device, sent them anew, would be waited for.
    """
    import torch

    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device).view(2, -1).repeat(1, width)


def resample(
    image: np.ndarray | Image.Image,
    size: tuple[int, int],
    interpolation: Interpolation,
    *,
    window: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Pillow's antialiased resize of an image (H, W, C) uint8 to (height, width) = `size`, whatever its C.

    With `window` (top, left, height, width) only that part of the resized image is computed and given back: within
    rounding the same pixels, at a cost that does not grow with what is left out. The image may be Pillow's own.
    """
    (height, width), box = size, None
    if window is not None:
        top, left, height, width = window
        before = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
        rows, box_top, box_bottom = _needed(before[0], size[0], top, height)
        columns, box_left, box_right = _needed(before[1], size[1], left, width)
        box = (box_left, box_top, box_right, box_bottom)
        image = _cut(image, rows, columns)
    resized = [part.resize((width, height), _FILTERS[interpolation], box) for part in _as_pillow(image)]
    return _as_pixels(resized[0]) if len(resized) == 1 else np.stack([np.asarray(part) for part in resized], axis=-1)


def _as_pillow(image: np.ndarray | Image.Image) -> list[Image.Image]:
    """The image as one of Pillow's, or one for each channel where there are neither one nor three."""
    if isinstance(image, Image.Image):
        return [image]
    parts = [image] if image.shape[2] == 3 else [image[..., c] for c in range(image.shape[2])]
    return [Image.fromarray(part) for part in parts]


def _cut(image: np.ndarray | Image.Image, rows: slice, columns: slice) -> np.ndarray | Image.Image:
    """A part of an image. Pillow's is cut before it becomes an array, which it cannot with rows of 2 ** 31 bits or
    more.
    """
    if isinstance(image, Image.Image):
        return image.crop((columns.start, rows.start, columns.stop, rows.stop))
    return image[rows, columns]


def _as_pixels(image: np.ndarray | Image.Image) -> np.ndarray:
    """(H, W, C) uint8."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def resample_alike(images: np.ndarray, size: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """`resample` for images of one size, (n, H, W, C) uint8 -> (n, height, width, C): the same pixels in few calls.

    For small images Pillow's calls cost ten times what it computes.
    """
    n, *before, channels = images.shape
    across_first = _passes_across_first((before[0], before[1]), size, interpolation)
    if n == 1 or across_first is None:
        return np.stack([resample(image, size, interpolation) for image in images])
    for goes_across in (across_first, not across_first):
        if goes_across:  # images below one another, each row for itself
            stacked = images.reshape(n * images.shape[1], *images.shape[2:])
            resized = resample(stacked, (len(stacked), size[1]), interpolation)
            images = resized.reshape(n, images.shape[1], size[1], channels)
        else:  # images beside one another, each column for itself
            stacked = np.ascontiguousarray(images.swapaxes(0, 1)).reshape(images.shape[1], -1, channels)
            resized = resample(stacked, (size[0], stacked.shape[1]), interpolation)
            images = np.ascontiguousarray(resized.reshape(size[0], n, -1, channels).swapaxes(0, 1))
    return images


@functools.cache
def _passes_across_first(before: tuple[int, int], after: tuple[int, int], interpolation: Interpolation) -> bool | None:
    """Whether Pillow resizes the rows of such an image before its columns, which decides what is rounded; found by
    trying with noise, since it depends on the version. None where the tries do not tell.
    """
    if before[0] == after[0] or before[1] == after[1]:
        return True  # one pass does nothing
    tries = np.random.default_rng(0).integers(0, 256, (_NUM_TRIES, *before, 1), np.uint8)
    whole = [resample(noise, after, interpolation) for noise in tries]

    def is_alike(middle: tuple[int, int]) -> bool:
        in_two = (resample(resample(noise, middle, interpolation), after, interpolation) for noise in tries)
        return all(map(np.array_equal, in_two, whole))

    across_first, down_first = is_alike((before[0], after[1])), is_alike((after[0], before[1]))
    return None if across_first == down_first else across_first


def _needed(length: int, resized_length: int, start: int, kept: int) -> tuple[slice, float, float]:
    """The part of a side of `length` pixels that the pixels [start, start + kept) of its resized form are made of.

    As a slice of the side, and as the first and last place, within that slice, that they cover. A 1 x 60000 image
    resized as a whole, before its ends are cut, would grow to gigabytes.
    """
    ratio = length / resized_length
    reach = _WIDEST_FILTER * max(1.0, ratio) + 1
    first = max(0, math.floor(start * ratio - reach))
    last = min(length, math.ceil((start + kept) * ratio + reach))
    return slice(first, last), start * ratio - first, min((start + kept) * ratio, length) - first


def crop_center(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle (h, w) of an image (H, W, C), as a view; InputError where it is too small."""
    return image[center(image.shape[:2], size)]


def center(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the middle (h, w) = `size` of (H, W) = `shape`, rounded as torchvision does."""
    if shape[0] < size[0] or shape[1] < size[1]:
        raise InputError(
            f"cannot cut {size[0]}x{size[1]} pixels out of an image of {shape[0]}x{shape[1]} (height x width)"
        )
    top, left = round((shape[0] - size[0]) / 2), round((shape[1] - size[1]) / 2)
    return slice(top, top + size[0]), slice(left, left + size[1])
