"""FCOS, a detector without anchors: at each place of a feature pyramid a score for each class and the distances to a
box's four sides (Tian et al. 2019, arXiv:1904.01355), on any network of the catalogue. N images, C channels, K classes,
P places.

Departures, so that it trains in minutes on a processor: strides 8, 16 and 32 in place of 8 to 128, two convolutions of
64 maps a tower in place of four of 256, and no centre-ness: the class score itself learns how well its box fits
(tasks/detection/assignment.py). Each lateral convolution is normalised, since a base without norms may give features in
the hundreds.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.checking import check_counts
from striate.networks.detectors.boxes import DenseBoxes
from striate.networks.entry import Entry
from striate.networks.entry_on import entry_on
from striate.networks.pyramid import backbone_of, maps_of

STRIDES = (8, 16, 32)
PRIOR = 0.01
"""The score that every class begins with (arXiv:1708.02002, section 4.1)."""
FIRST_REACH = 2.0
"""How far a box reaches at first to each side, in strides."""
MOST_LOG_REACH = 5.0


@dataclass(frozen=True)
class FcosConfig:
    """Channels in, classes out, maps of the pyramid, and convolutions of each tower."""

    in_channels: int = 3
    num_classes: int = 80
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.width < 8 or self.width % 8 or not 1 <= self.depth <= 8:
            raise InputError(
                f"width must be a multiple of 8 and depth 1 to 8 but they are {self.width} and {self.depth}"
            )


class Fcos(nn.Module):
    """Images (N, C, H, W) -> DenseBoxes, the places of the finest map first, row by row."""

    def __init__(self, base: Entry, config: FcosConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.base, self.taps = backbone_of(base, config.in_channels, STRIDES)
        self.lateral = nn.ModuleList(_normed(tap.channels, width, 1) for tap in self.taps)
        self.coarser = nn.ModuleList(_normed(width, width, 3, stride=2) for s in STRIDES if s > self.taps[-1].stride)
        self.smooth = nn.ModuleList(_normed(width, width, 3) for _ in self.taps)
        self.box_tower = nn.Sequential(*(_normed(width, width, 3) for _ in range(config.depth)))
        self.class_tower = nn.Sequential(*(_normed(width, width, 3) for _ in range(config.depth)))
        self.reach_scales = nn.Parameter(torch.ones(len(self.strides)))
        self.reach = nn.Conv2d(width, 4, 3, padding=1)
        self.classify = nn.Conv2d(width, config.num_classes, 3, padding=1)
        for layer, bias in ((self.reach, 0.0), (self.classify, -math.log((1 - PRIOR) / PRIOR))):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps that boxes are found on, the finest first."""
        own = tuple(tap.stride for tap in self.taps)
        return own + tuple(stride for stride in STRIDES if stride > own[-1])

    def forward(self, images: Tensor) -> DenseBoxes:
        """Boxes and class scores at every place."""
        height, width = images.shape[2:]
        logits, boxes, places = [], [], []
        for number, maps in enumerate(self.pyramid(images)):
            stride = self.strides[number]
            own = place_grid(maps.shape[2], maps.shape[3], stride, height, width, maps.device)  # (p, 4)
            reach = (self.reach_scales[number] * self.reach(self.box_tower(maps))).float()
            reach = FIRST_REACH * reach.clamp(-MOST_LOG_REACH, MOST_LOG_REACH).exp()  # (N, 4, h, w), in strides
            logits.append(self.classify(self.class_tower(maps)).flatten(2).transpose(1, 2))
            boxes.append(boxes_about(own, reach.flatten(2).transpose(1, 2)))
            places.append(own)
        return DenseBoxes(torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(places))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) -> maps (N, width, h, w) of every stride, each with what the coarser ones know
        (arXiv:1612.03144).
        """
        found = [layer(maps) for layer, maps in zip(self.lateral, maps_of(self.base, images, self.taps), strict=True)]
        for number in range(len(found) - 2, -1, -1):
            finer = found[number]
            found[number] = finer + F.interpolate(found[number + 1], size=finer.shape[2:], mode="nearest")
        found = [layer(maps) for layer, maps in zip(self.smooth, found, strict=True)]
        for layer in self.coarser:
            found.append(layer(found[-1]))
        return found


def place_grid(rows: int, columns: int, stride: int, height: int, width: int, device: torch.device) -> Tensor:
    """The places of a map (rows * columns, 4), see DenseBoxes. The map's centre lies on the image's."""
    y = (height / 2 + stride * (torch.arange(rows, device=device) - (rows - 1) / 2)) / height
    x = (width / 2 + stride * (torch.arange(columns, device=device) - (columns - 1) / 2)) / width
    y, x = torch.meshgrid(y.float(), x.float(), indexing="ij")
    across, down = torch.full_like(x, stride / width), torch.full_like(x, stride / height)
    return torch.stack([x, y, across, down], dim=-1).flatten(0, 1)


def boxes_about(places: Tensor, reach: Tensor) -> Tensor:
    """Boxes that reach so far left, up, right and down of places (P, 4), in strides: (N, P, 4) -> (N, P, 4)."""
    centers, steps = places[:, :2], places[:, 2:]
    return torch.cat([centers - reach[..., :2] * steps, centers + reach[..., 2:] * steps], dim=-1)


def _normed(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """A convolution, group norm and rectifier."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(8, out_channels), nn.ReLU())


def fcos_on(base: Entry) -> Entry:
    """The entry of FCOS on a network of the catalogue."""
    return entry_on(base, "fcos", partial(Fcos, base), FcosConfig(), year=2019, title=TITLE, paper="arXiv:1904.01355")


TITLE = "FCOS: Fully Convolutional One-Stage Object Detection"
