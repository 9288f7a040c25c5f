"""Shallow network of radial basis functions. N images, C channels, M units, K classes.

Each unit is a Gaussian around a centre, an image of its own, and a linear layer without biases adds up what the units
say (Broomhead & Lowe 1988, Complex Systems 2:321-355; Moody & Darken 1989, doi:10.1162/neco.1989.1.2.281). Far from
every centre all logits are 0, so all classes are equally probable: the network knows what it has not seen, which is why
Goodfellow et al. 2015 (arXiv:1412.6572, section 7) find such networks, though less accurate, unsure where they are
fooled.

Departures: centres and widths begin as Moody & Darken have them (k-means; the root mean square distance to the nearest
two centres) and are then trained with all else, by gradients on the cross-entropy. The network of Goodfellow et al. has
no hidden layer: one quadratic form for each class.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry

_ROUNDS = 10
_TINY = 1e-6
_HEAD_SCALE = 0.01
_NARROW = 2**-0.5
"""Widths begin at so much of the distance to the nearest centres: on MNIST narrower ones learn faster than wider ones.
"""
_GAIN = 30.0
"""Units close to no centre say little, so what they say is multiplied; it is as if the head alone learnt at a higher
rate.
"""


@dataclass(frozen=True)
class RBFConfig:
    """Channels in, classes out, (height, width) of the images in pixels, and the number of centres."""

    in_channels: int = 1
    num_classes: int = 10
    image_size: tuple[int, int] = (28, 28)
    num_centers: int = 300

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InputError(f"image_size must be (height, width), each at least 1, but is {self.image_size}")
        if self.num_centers < 1:
            raise InputError(f"num_centers must be at least 1 but is {self.num_centers}")


class GaussianUnits(nn.Module):
    """exp(-|x - c|^2 / (2 s^2)) for each centre c, a row of `weight` (M, D), and its width s: (N, D) -> (N, M),
    in [0, 1].

    Widths are kept as their logarithms, `log_widths` (M,), so that they stay above 0.
    """

    def __init__(self, num_inputs: int, num_centers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_centers, num_inputs))
        self.log_widths = nn.Parameter(torch.empty(num_centers))
        with torch.no_grad():
            self.weight.normal_(std=0.1)
            self.log_widths.fill_(0.5 * math.log(num_inputs))

    def forward(self, points: Tensor) -> Tensor:
        """Points (N, D) -> closeness to each centre (N, M)."""
        products = points @ self.weight.T  # (N, M)
        squares = points.square().sum(dim=1, keepdim=True) - 2 * products + self.weight.square().sum(dim=1)
        return torch.exp(-0.5 * squares.clamp(min=0) * torch.exp(-2 * self.log_widths))


class RBF(nn.Module):
    """Gaussian units on pixels in a row and a linear head: images (N, C, height, width) -> logits (N, K)."""

    def __init__(self, config: RBFConfig) -> None:
        super().__init__()
        self.config = config
        height, width = config.image_size
        self.flatten = nn.Flatten()
        self.units = GaussianUnits(config.in_channels * height * width, config.num_centers)
        self.head = nn.Linear(config.num_centers, config.num_classes, bias=False)
        nn.init.normal_(self.head.weight, std=_HEAD_SCALE)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, height, width) -> logits (N, K), 0 far from every centre; InputError for any other size."""
        check_images(images, self.config.in_channels, self.config.image_size, is_fixed_size=True, network="rbf")
        return self.head(_GAIN * self.units(self.flatten(images)))


def place_centers(network: nn.Module, images: Tensor) -> None:
    """Move the centres to those that k-means finds among images (N, C, H, W) and set the widths, in place; drawn by no
    seed.

    Fewer images than centres are used more than once, a little apart. A width is 0.7 times the root mean square
    distance to the two nearest centres.
    """
    assert isinstance(network, RBF)
    points = images.flatten(1).float()
    units = network.units
    num_centers = len(units.weight)
    generator = torch.Generator().manual_seed(0)
    rows = torch.cat([torch.randperm(len(points), generator=generator) for _ in range(-(-num_centers // len(points)))])
    centers = points[rows[:num_centers].to(points.device)].clone()
    if num_centers > len(points):
        centers += _TINY * torch.randn(centers.shape, generator=generator).to(centers.device)
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centers).argmin(dim=1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=num_centers).to(sums.dtype)[:, None]
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
    distances = torch.cdist(centers, centers).topk(min(3, num_centers), largest=False).values[:, 1:]  # (M, 2)
    with torch.no_grad():
        units.weight.copy_(centers)
        if distances.shape[1]:
            widths = _NARROW * distances.square().mean(dim=1).sqrt()
            units.log_widths.copy_(widths.clamp(min=_TINY).log())


ENTRIES = (
    Entry(
        name="rbf", family="rbf", year=1989, title="Fast Learning in Networks of Locally-Tuned Processing Units",
        paper="doi:10.1162/neco.1989.1.2.281", build=RBF, config=RBFConfig(), input_size=(1, 28, 28),
        num_params=238_500, macs=238_200, stem="units", head="head", min_size=(28, 28), is_fixed_size=True,
        initialize_from_images=place_centers,
    ),
)  # fmt: skip
