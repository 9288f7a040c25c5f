"""Checks of a network's configuration and of its input images, each with a one-line error."""

from torch import Tensor

from striate.errors import InputError


def check_counts(in_channels: int, num_classes: int) -> None:
    """Raise InputError unless both numbers are whole and at least 1."""
    for name, count in (("in_channels", in_channels), ("num_classes", num_classes)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{name} must be a whole number of at least 1 but is {count!r}")


def check_dropout(**shares: float) -> None:
    """Raise InputError unless each share of activations to drop, by its name, is at least 0 and below 1."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"{name} must be at least 0 and below 1 but is {share!r}")


def check_depths(depths: tuple[int, ...], *, num_stages: int) -> None:
    """Raise InputError unless there is a number of blocks, at least 1, for every stage."""
    if len(depths) != num_stages or min(depths) < 1:
        raise InputError(f"depths must be {num_stages} numbers of at least 1 but are {depths}")


def check_images(
    images: Tensor,
    in_channels: int,
    size: tuple[int, int],
    *,
    is_fixed_size: bool = False,
    network: str = "this network",
) -> None:
    """Raise InputError unless images are (N, in_channels, H, W), (H, W) being `size`, or at least `size` if not fixed.

    Compares shapes only, so it costs nothing beside a forward pass.
    """
    if images.ndim != 4 or images.shape[1] != in_channels:
        raise InputError(
            f"{network} expects images (N, {in_channels}, H, W) but got {tuple(images.shape)}; "
            f"give {in_channels} channels or build it with in_channels set"
        )
    check_size((images.shape[2], images.shape[3]), size, is_fixed_size=is_fixed_size, network=network)


def check_size(found: tuple[int, int], size: tuple[int, int], *, is_fixed_size: bool, network: str) -> None:
    """Raise InputError unless `found` (height, width) is `size`, or at least `size` where the size is not fixed."""
    (height, width), (needed_height, needed_width) = found, size
    if is_fixed_size and (height, width) != (needed_height, needed_width):
        raise InputError(
            f"{network} takes images of {needed_height}x{needed_width} pixels only but got {height}x{width}; "
            f"resize them to {needed_height}x{needed_width}"
        )
    if height < needed_height or width < needed_width:
        raise InputError(
            f"{network} needs images of at least {needed_height}x{needed_width} pixels but got {height}x{width}; "
            "enlarge them or choose a network for small images"
        )
