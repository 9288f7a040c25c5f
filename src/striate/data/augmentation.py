"""Random changes to whole batches of training images, as a value and as a function of that value.

Images are (N, C, H, W) with pixels 0..255, uint8 or float, and stay so. Each image gets its own draw, all from the
generator given: equal generators, equal results, and on every device from the same numbers. The random resized crop is
made where images are read (`striate.data.sampling`), since packed images differ in size.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from striate.data.augmentation_settings import Augmentation
from striate.data.to_device import send
from striate.errors import InputError

# for pixels in [0, 1]; the AlexNet paper (section 4.1) prints no figures, these were published with fb.resnet.torch
PRINCIPAL_VARIANCES = (0.2175, 0.0188, 0.0045)
PRINCIPAL_COLORS = ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203))  # one a row
_LARGE_IMAGE = 20_000  # numbers in an image
_GREY_SHARES = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Changes:
    """The drawn augmentation of each of N images; None where nothing does. The fields are the arguments of the
    functions below: (N,), `colors` (N, 3).
    """

    flipped: Tensor | None = None
    down: Tensor | None = None
    right: Tensor | None = None
    degrees: Tensor | None = None
    brightness: Tensor | None = None
    contrast: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None
    colors: Tensor | None = None
    rows: Tensor | None = None
    columns: Tensor | None = None

    @property
    def are_more_than_flips(self) -> bool:
        """Whether anything happens but flips."""
        return any(
            getattr(self, field.name) is not None for field in dataclasses.fields(self) if field.name != "flipped"
        )

    def of(self, places: Tensor | slice) -> "Changes":
        """Those of the images at `places`, (n,) int64 or a slice, of the N."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return Changes(**{name: None if value is None else value[places] for name, value in values})

    def each(self) -> "Iterator[Changes]":
        """Those of one image after another; without end where nothing happens to any."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        drawn = {name: value.split(1) for name, value in values.items() if value is not None}
        if not drawn:
            return itertools.repeat(self)
        return (Changes(**dict(zip(drawn, parts, strict=True))) for parts in zip(*drawn.values(), strict=True))

    def to(self, device: torch.device) -> "Changes":
        """The same on `device`."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return Changes(**{name: None if value is None else send(value, device) for name, value in values})


def are_large(shape: tuple[int, ...], device: torch.device) -> bool:
    """Whether a processor is many times as fast on one image (C, H, W) after the other, since each stays in its
    cache.
    """
    return device.type == "cpu" and math.prod(shape) >= _LARGE_IMAGE


def augment(images: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """A batch (N, C, H, W) of pixels 0..255, changed image by image as `config` says; crop and mixup are not made here.

    In this order: flip, shift, rotation, brightness, contrast, saturation, hue, principal colours, cutout. uint8 stays
    uint8 where nothing is computed on pixels (flip, shift, cutout); otherwise float32 in [0, 255]. Grey images (C = 1)
    have no saturation, hue or principal colours to change; InputError where those are asked for on other than 1 or 3
    channels.
    """
    _check_images(images, config)
    return apply_changes(images, draw_changes(tuple(images.shape), config, generator), config)


def draw_changes(shape: tuple[int, ...], config: Augmentation, generator: torch.Generator) -> Changes:
    """Draw what `augment` does to a batch of this shape (N, C, H, W), drawn on the generator's device.

    Several processes that share a batch each draw for all of it and change their own images. InputError for what cannot
    be done to such images.
    """
    _check_shape(shape, config)
    num_images, channels, height, width = shape

    def draw(low: float, high: float) -> Tensor:
        """(N,) uniform in [low, high)."""
        uniform = torch.rand(num_images, generator=generator, device=generator.device, dtype=torch.float32)
        return low + (high - low) * uniform

    def draw_whole(low: int, high: int) -> Tensor:
        """(N,) int64 uniform in [low, high]."""
        return torch.randint(low, high + 1, (num_images,), generator=generator, device=generator.device)

    def draw_factors(change: float) -> Tensor:
        return draw(max(0.0, 1 - change), 1 + change)

    def draw_colors() -> Tensor:
        normal = torch.randn(num_images, 3, generator=generator, device=generator.device, dtype=torch.float32)
        return config.pca_color * normal

    drawn: dict[str, Tensor] = {}  # one after the other, as `augment` lists them: the order decides the numbers
    if config.flip:
        drawn["flipped"] = draw(0, 1) < 0.5
    if config.shift_px:
        drawn |= {name: draw_whole(-config.shift_px, config.shift_px) for name in ("down", "right")}
    if config.rotation_degrees:
        drawn["degrees"] = draw(-config.rotation_degrees, config.rotation_degrees)
    if config.brightness:
        drawn["brightness"] = draw_factors(config.brightness)
    if config.contrast:
        drawn["contrast"] = draw_factors(config.contrast)
    if config.saturation and channels == 3:
        drawn["saturation"] = draw_factors(config.saturation)
    if config.hue and channels == 3:
        drawn["hue"] = draw(-config.hue, config.hue)
    if config.pca_color and channels == 3:
        drawn["colors"] = draw_colors()
    if config.cutout_px:
        drawn |= {"rows": draw_whole(0, height - 1), "columns": draw_whole(0, width - 1)}
    return Changes(**drawn)


def apply_changes(images: Tensor, changes: Changes, config: Augmentation) -> Tensor:
    """The images (N, C, H, W) with what was drawn for each of them done to it; see `augment`."""
    _check_images(images, config)
    changes = changes.to(images.device)
    if not (changes.are_more_than_flips and are_large(images.shape[1:], images.device)):
        return _changed(images, changes, config)
    results: Tensor | None = None
    for place, changed in enumerate(changed_one_by_one(images.split(1), changes, config)):
        if results is None:
            results = torch.empty_like(images, dtype=changed.dtype)
        results[place] = changed[0]
    return images if results is None else results


def changed_one_by_one(images: Iterable[Tensor], changes: Changes, config: Augmentation) -> Iterator[Tensor]:
    """`apply_changes` to one image after another, each (1, C, H, W), on the CPU."""
    if changes.flipped is not None and not changes.are_more_than_flips:
        return (
            image.flip(3) if chosen else image for image, chosen in zip(images, changes.flipped.tolist(), strict=True)
        )
    return map(partial(_changed, config=config), images, changes.each())


def _changed(images: Tensor, changes: Changes, config: Augmentation) -> Tensor:
    """`apply_changes` to all images at once."""
    if changes.flipped is not None:
        images = flip(images, changes.flipped)
    if changes.down is not None and changes.right is not None:
        images = shift(images, changes.down, changes.right)
    if changes.degrees is not None:
        images = rotate(images, changes.degrees)
    if changes.brightness is not None:
        images = change_brightness(images, changes.brightness)
    if changes.contrast is not None:
        images = change_contrast(images, changes.contrast)
    if changes.saturation is not None:
        images = change_saturation(images, changes.saturation)
    if changes.hue is not None:
        images = change_hue(images, changes.hue)
    if changes.colors is not None:
        images = add_principal_colors(images, changes.colors)
    if changes.rows is not None and changes.columns is not None:
        images = cut_out(images, changes.rows, changes.columns, config.cutout_px)
    return images


def mixup(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each image and its target mixed with those of another of the batch: (N, C, H, W) and (N, K), both float32.

    The share of the first is drawn from Beta(alpha, alpha), for each pair anew (arXiv:1710.09412, eq. 1). `targets` are
    class probabilities, one-hot as a rule. InputError for labels.
    """
    if targets.ndim != 2 or len(targets) != len(images) or not targets.is_floating_point():
        raise InputError(
            f"mixup needs class probabilities ({len(images)}, K) as targets "
            f"but got {tuple(targets.shape)} {targets.dtype}; make labels one-hot first"
        )
    shares, partners = (drawn.to(images.device) for drawn in draw_mix(len(images), alpha, generator))
    return mix(images, shares, partners), mix(targets, shares, partners)


def draw_mix(num_images: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each of N images its share, (N,) float32, and the place of its partner, (N,) int64."""
    if not 0 < alpha < math.inf:
        raise InputError(f"mixup needs an alpha above 0 but it is {alpha:g}")
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    drawn = np.random.default_rng(int(seed)).beta(alpha, alpha, num_images)
    partners = torch.randperm(num_images, generator=generator, device=generator.device)
    return torch.from_numpy(drawn).to(generator.device, torch.float32), partners


def mix(values: Tensor, shares: Tensor, partners: Tensor) -> Tensor:
    """`shares` (N,) of each value and the rest of the value at `partners` (N,): (N, ...) -> (N, ...) float32."""
    return mix_pairs(values, values[partners], shares)


def mix_pairs(values: Tensor, others: Tensor, shares: Tensor) -> Tensor:
    """`shares` (N,) of each value and the rest of the other: twice (N, ...) -> (N, ...) float32."""
    shares = shares.view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(others.to(torch.float32), values.to(torch.float32), shares)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Left and right exchanged where `chosen` (N,) bool; any dtype."""
    if not are_large(images.shape[1:], images.device):
        return torch.where(_per_image(chosen), images.flip(3), images)
    if len(images) == 1:
        return images.flip(3) if chosen else images
    flipped = images.clone()
    for place in chosen.nonzero().flatten().tolist():
        flipped[place] = images[place].flip(2)
    return flipped


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Moved by whole pixels (N,) int64; the image reflected, without its border pixel, comes in; any dtype."""
    shape = images.shape
    rows = _reflect(torch.arange(shape[2], device=images.device) - down[:, None], shape[2])  # (N, H)
    columns = _reflect(torch.arange(shape[3], device=images.device) - right[:, None], shape[3])  # (N, W)
    moved = images.gather(2, rows[:, None, :, None].expand(shape))
    return moved.gather(3, columns[:, None, None, :].expand(shape))


def rotate(images: Tensor, degrees: Tensor, *, interpolation: str = "bilinear") -> Tensor:
    """Turned counter-clockwise about the centre by `degrees` (N,), corners filled by reflection: float32.

    `interpolation` is "bilinear", or "nearest" for images whose values are numbers of classes.
    """
    height, width = images.shape[2:]
    angles = torch.deg2rad(degrees)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # from output to input, in coordinates that run from -1 to 1 along both sides
    rows = [torch.stack([cos, -sin * (height / width), zero], 1), torch.stack([sin * (width / height), cos, zero], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(
        images.to(torch.float32), grid, mode=interpolation, padding_mode="reflection", align_corners=False
    )


def change_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Every pixel times the image's factor (N,), within [0, 255]: float32."""
    return (images * _per_image(factors)).clamp_(0, 255)


def change_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Every pixel's distance from the image's mean grey times the image's factor (N,), within [0, 255]: float32."""
    grey = to_grey(images) if images.shape[1] == 3 else images.to(torch.float32)
    return _blend(images, grey.mean(dim=(1, 2, 3), keepdim=True), factors)


def change_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Every pixel's distance from its own grey times the image's factor (N,), within [0, 255]: (N, 3, H, W) float32."""
    return _blend(images, to_grey(images), factors)


def change_hue(images: Tensor, turns: Tensor) -> Tensor:
    """The hue moved along the colour circle by `turns` (N,), red to green being 1/3: (N, 3, H, W) float32."""
    red, green, blue = images.to(torch.float32).unbind(1)  # (N, H, W) each
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    safe = torch.where(chroma == 0, 1, chroma)
    of_red, of_green, of_blue = (green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe
    sixths = (
        torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue)) + 6 * turns[:, None, None]
    )

    def channel(start: int) -> Tensor:
        """https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative"""
        k = (start + sixths) % 6
        return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], 1)


def add_principal_colors(images: Tensor, amounts: Tensor) -> Tensor:
    """AlexNet's colour noise (section 4.1): `amounts` (N, 3) of each principal colour times its variance are added to
    every pixel of the image, within [0, 255]: (N, 3, H, W) float32."""
    colors = torch.tensor(PRINCIPAL_COLORS, dtype=torch.float32, device=images.device)
    variances = torch.tensor(PRINCIPAL_VARIANCES, dtype=torch.float32, device=images.device)
    added = 255 * (amounts * variances) @ colors  # (N, 3)
    return (images.to(torch.float32) + added[:, :, None, None]).clamp(0, 255)


def cut_out(images: Tensor, rows: Tensor, columns: Tensor, side_px: int) -> Tensor:
    """A square about the pixel (`rows`, `columns`) (N,), where inside, set to the image's mean colour; any dtype.

    An even side reaches one pixel further up and left.
    """
    mean = images.to(torch.float32).mean(dim=(2, 3), keepdim=True)
    mean = mean if images.is_floating_point() else mean.round()
    down = torch.arange(images.shape[2], device=images.device) - (rows[:, None] - side_px // 2)  # (N, H)
    right = torch.arange(images.shape[3], device=images.device) - (columns[:, None] - side_px // 2)
    inside = ((down >= 0) & (down < side_px))[:, None, :, None] & ((right >= 0) & (right < side_px))[:, None, None, :]
    return torch.where(inside, mean.to(images.dtype), images)


def to_grey(images: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of (N, 3, H, W): (N, 1, H, W) float32."""
    red, green, blue = images.split(1, dim=1)
    of_red, of_green, of_blue = _GREY_SHARES
    return (red * of_red).add_(green, alpha=of_green).add_(blue, alpha=of_blue)


def _blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """`factors` of the image and the rest of the other, which for factors above 1 leads away from it."""
    shares = _per_image(factors)
    return (images * shares).add_(others * (1 - shares)).clamp_(0, 255)


def _per_image(values: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1)"""
    return values.view(-1, 1, 1, 1)


def _reflect(places: Tensor, length: int) -> Tensor:
    """Places outside [0, length) folded back at the border pixels; valid up to length - 1 outside."""
    return (length - 1) - ((length - 1) - places.abs()).abs()


def _check_images(images: Tensor, config: Augmentation) -> None:
    if images.ndim != 4 or (images.dtype != torch.uint8 and not images.is_floating_point()):
        raise InputError(f"expected images (N, C, H, W), uint8 or float, but got {tuple(images.shape)} {images.dtype}")
    _check_shape(tuple(images.shape), config)


def _check_shape(shape: tuple[int, ...], config: Augmentation) -> None:
    if config.shift_px >= min(shape[2:]):
        raise InputError(f"shift_px is {config.shift_px} but must be below the image's sides, {shape[2]} x {shape[3]}")
    colors = [name for name in ("saturation", "hue", "pca_color") if getattr(config, name)]
    if colors and shape[1] not in (1, 3):
        raise InputError(f"{', '.join(colors)} can be changed in images of 1 or 3 channels, but these have {shape[1]}")
