"""SSD: at each place of several maps, changes of default boxes of several shapes (Liu et al. 2016, arXiv:1512.02325):
SSD300 on VGG-16, and a light one on any network of the catalogue. N images, C channels, K classes, A default boxes.

SSD300's parameters have torchvision's names, so that its published weights load. Departures: pool3 rounds its size up,
as the authors' Caffe network does; the light one takes the base's own maps of strides 8 to 32, each normalised, and
halves the last until five are there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.data.preprocessing import Preprocessing
from striate.networks.checking import check_counts, check_images
from striate.networks.detectors.boxes import AnchorBoxes
from striate.networks.entry import Entry
from striate.networks.entry_on import entry_on
from striate.networks.pyramid import backbone_of, maps_of

SIDE_PX = 300
RATIOS_300 = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
SCALES_300 = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
"""Sides of the square boxes of each map, as fractions of the image, and one more (section 2.2 and the authors' settings
for COCO).
"""
STEPS_300 = (8, 16, 32, 64, 100, 300)
LIGHT_STRIDES = (8, 16, 32)
LIGHT_RATIOS = ((2.0, 3.0),) * 5
LIGHT_SCALES = (0.06, 0.13, 0.28, 0.45, 0.65, 0.9)


@dataclass(frozen=True)
class SsdConfig:
    """Channels in and classes out, the background not counted."""

    in_channels: int = 3
    num_classes: int = 90

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class Heads(nn.Module):
    """A 3x3 convolution of each map: maps (N, C, h, w) -> (N, A, `columns`), place by place, the boxes of a place
    together.
    """

    def __init__(self, channels: Sequence[int], num_boxes: Sequence[int], columns: int) -> None:
        super().__init__()
        self.columns = columns
        convs = (nn.Conv2d(c, n * columns, 3, padding=1) for c, n in zip(channels, num_boxes, strict=True))
        self.module_list = nn.ModuleList(convs)
        for conv in self.module_list:
            nn.init.xavier_uniform_(conv.weight)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor]) -> Tensor:
        """All maps' rows, one map after another."""
        rows = [conv(each).permute(0, 2, 3, 1) for conv, each in zip(self.module_list, maps, strict=True)]
        return torch.cat([each.reshape(len(each), -1, self.columns) for each in rows], dim=1)


class SsdHead(nn.Module):
    """Scores of K + 1 classes, and changes, of every default box."""

    def __init__(self, channels: Sequence[int], ratios: Sequence[Sequence[float]], num_classes: int) -> None:
        super().__init__()
        num_boxes = [2 + 2 * len(own) for own in ratios]
        self.classification_head = Heads(channels, num_boxes, num_classes + 1)
        self.regression_head = Heads(channels, num_boxes, 4)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps -> logits (N, A, K + 1) and deltas (N, A, 4)."""
        return self.classification_head(maps), self.regression_head(maps)


class VggMaps(nn.Module):
    """VGG-16 to conv4_3, whose features are brought to a learnt length, then fc6 and fc7 as convolutions, then four
    stages (figure 2).
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        widths: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512]
        layers: list[nn.Module] = []
        channels, num_pools = in_channels, 0
        for width in widths:
            if isinstance(width, str):
                num_pools += 1
                layers.append(nn.MaxPool2d(2, 2, ceil_mode=num_pools == 3))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        conv5 = [layer for _ in range(3) for layer in (nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(inplace=True))]
        dense = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.extra = nn.ModuleList(
            [
                nn.Sequential(nn.MaxPool2d(2, 2), *conv5, dense),
                _stage(1024, 256, 512, stride=2, padding=1),
                _stage(512, 128, 256, stride=2, padding=1),
                _stage(256, 128, 256, stride=1, padding=0),
                _stage(256, 128, 256, stride=1, padding=0),
            ]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, C, 300, 300) -> six maps, of sides 38, 19, 10, 5, 3 and 1."""
        maps = self.features(images)
        found = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(maps)]
        for stage in self.extra:
            maps = stage(maps)
            found.append(maps)
        return found


class Ssd300(nn.Module):
    """Images (N, C, 300, 300) -> AnchorBoxes of 8,732 default boxes."""

    def __init__(self, config: SsdConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = VggMaps(config.in_channels)
        self.head = SsdHead((512, 1024, 512, 256, 256, 256), RATIOS_300, config.num_classes)

    def forward(self, images: Tensor) -> AnchorBoxes:
        """Scores and changes of all default boxes."""
        check_images(images, self.config.in_channels, (SIDE_PX, SIDE_PX), network="ssd300")
        maps = self.backbone(images)
        spacings = [step / SIDE_PX for step in STEPS_300]
        anchors = default_boxes([each.shape[2:] for each in maps], [(s, s) for s in spacings], RATIOS_300, SCALES_300)
        logits, deltas = self.head(maps)
        return AnchorBoxes(logits, deltas, anchors.to(images.device))


class SsdOn(nn.Module):
    """The light SSD on a base: images (N, C, H, W) -> AnchorBoxes."""

    def __init__(self, base: Entry, config: SsdConfig) -> None:
        super().__init__()
        self.config = config
        self.base, self.taps = backbone_of(base, config.in_channels, LIGHT_STRIDES)
        self.norms = nn.ModuleList(nn.GroupNorm(1, tap.channels) for tap in self.taps)
        channels = [tap.channels for tap in self.taps]
        extra = []
        while len(channels) < len(LIGHT_RATIOS):
            extra.append(_stage(channels[-1], 64, 128, stride=2, padding=1))
            channels.append(128)
        self.extra = nn.ModuleList(extra)
        self.head = SsdHead(channels, LIGHT_RATIOS, config.num_classes)

    def forward(self, images: Tensor) -> AnchorBoxes:
        """Scores and changes of all default boxes."""
        maps = [norm(each) for norm, each in zip(self.norms, maps_of(self.base, images, self.taps), strict=True)]
        for stage in self.extra:
            maps.append(stage(maps[-1]))
        shapes = [each.shape[2:] for each in maps]
        anchors = default_boxes(shapes, [(1 / h, 1 / w) for h, w in shapes], LIGHT_RATIOS, LIGHT_SCALES)
        logits, deltas = self.head(maps)
        return AnchorBoxes(logits, deltas, anchors.to(images.device))


def default_boxes(
    shapes: Sequence[Sequence[int]],
    spacings: Sequence[tuple[float, float]],
    ratios: Sequence[Sequence[float]],
    scales: Sequence[float],
) -> Tensor:
    """Default boxes (A, 4) of maps of these (rows, columns), `spacings` (down, across) apart as fractions of the image,
    row by row: at each place a square of the map's scale, one of the mean with the next, and for each ratio a wide and
    a tall one (section 2.2).
    """
    found = []
    for number, ((rows, columns), (down, across)) in enumerate(zip(shapes, spacings, strict=True)):
        own, following = scales[number], scales[number + 1]
        sides = [(own, own), (math.sqrt(own * following),) * 2]
        for ratio in ratios[number]:
            wide, narrow = own * math.sqrt(ratio), own / math.sqrt(ratio)
            sides += [(wide, narrow), (narrow, wide)]
        y, x = torch.meshgrid((torch.arange(rows) + 0.5) * down, (torch.arange(columns) + 0.5) * across, indexing="ij")
        centers = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
        half = torch.tensor(sides).clamp(max=1).reshape(1, -1, 2) / 2
        found.append(torch.cat([centers - half, centers + half], dim=-1).reshape(-1, 4))
    return torch.cat(found)


def _stage(in_channels: int, middle: int, out_channels: int, *, stride: int, padding: int) -> nn.Sequential:
    """Fewer maps by 1x1, then 3x3."""
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 1), nn.ReLU(inplace=True),
        nn.Conv2d(middle, out_channels, 3, stride=stride, padding=padding), nn.ReLU(inplace=True),
    )  # fmt: skip


def ssd_on(base: Entry) -> Entry:
    """The entry of the light SSD on a network of the catalogue."""
    head = "head.classification_head.module_list.0"
    return entry_on(base, "ssd", partial(SsdOn, base), SsdConfig(), head=head, year=2016, title=TITLE, paper=PAPER)


TITLE, PAPER = "SSD: Single Shot MultiBox Detector", "arXiv:1512.02325"
ENTRIES = (
    Entry(
        name="ssd300", family="ssd", year=2016, title=TITLE, paper=PAPER, build=Ssd300, config=SsdConfig(),
        input_size=(3, 300, 300), num_params=35_641_826, macs=34_858_153_472, stem="backbone.features.0",
        head="head.classification_head.module_list.0", min_size=(300, 300), is_fixed_size=True, has_norm=False,
        auxiliary_heads=tuple(f"head.classification_head.module_list.{k}" for k in range(1, 6)), kind="detector",
        preprocessing=Preprocessing(
            3, 300, (300, 300), (0.48235, 0.45882, 0.40784), (1 / 255,) * 3, resize="stretch"
        ),
    ),
)  # fmt: skip
