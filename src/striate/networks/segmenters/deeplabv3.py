"""DeepLabv3: dilated convolutions of several rates side by side on a dilated ResNet (Chen et al. 2017,
arXiv:1706.05587), as torchvision builds it. N images, C channels, H x W pixels, K classes. Parameter names are
torchvision's, so that its published weights load.

Departures from the paper: an auxiliary head in training (fcn_resnet.py), a 3x3 convolution before the last layer, and
dropout.
"""

from typing import Any

import torch
from torch import Tensor, nn

from striate.networks.entry import Entry
from striate.networks.segmenters.dilated_resnet import WIDTHS
from striate.networks.segmenters.fcn_resnet import MIN_SIZE, DilatedConfig, FcnResNet
from striate.networks.segmenters.unet import KIND, enlarged
from striate.networks.segmenters.voc_weights import voc_weights

RATES = (12, 24, 36)
"""Twice those of the paper's figure 5, since the maps have stride 8 (section 4.1)."""
INNER = 256


class PooledContext(nn.Sequential):
    """The image's mean map, projected and spread over all places: (N, C, h, w) -> (N, 256, h, w)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_norm(in_channels, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Every place gets the same."""
        return enlarged(super().forward(maps), maps)


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling (section 3.3): (N, C, h, w) -> (N, 256, h, w)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        branches: list[nn.Module] = [nn.Sequential(*conv_norm(in_channels, 1))]
        branches += [nn.Sequential(*conv_norm(in_channels, 3, rate)) for rate in RATES]
        self.convs = nn.ModuleList([*branches, PooledContext(in_channels)])
        self.project = nn.Sequential(*conv_norm(len(self.convs) * INNER, 1), nn.Dropout(0.5))

    def forward(self, maps: Tensor) -> Tensor:
        """The branches side by side, projected."""
        return self.project(torch.cat([branch(maps) for branch in self.convs], dim=1))


def conv_norm(in_channels: int, kernel_size: int, dilation: int = 1) -> list[nn.Module]:
    """A padded convolution to 256 maps, batch norm and rectifier."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv2d(in_channels, INNER, kernel_size, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(INNER), nn.ReLU()]


def deeplabv3_resnet(config: DilatedConfig) -> FcnResNet:
    """Pyramid pooling on the last stage."""
    classifier = nn.Sequential(PyramidPooling(WIDTHS[3]), *conv_norm(INNER, 3), nn.Conv2d(INNER, config.num_classes, 1))
    return FcnResNet(config, classifier)


_COMMON: dict[str, Any] = {
    "family": "deeplab", "year": 2017, "title": "Rethinking Atrous Convolution for Semantic Image Segmentation",
    "paper": "arXiv:1706.05587", "build": deeplabv3_resnet, "stem": "backbone.conv1", "head": "classifier.4",
    "kind": KIND,
    "input_size": (3, 520, 520), "min_size": MIN_SIZE, "auxiliary_heads": ("aux_classifier.4",),
    "num_auxiliary_params": 2_365_205,
}  # fmt: skip

ENTRIES = (
    Entry(
        name="deeplabv3_resnet50",
        config=DilatedConfig(),
        num_params=39_638_869,
        macs=168_731_205_888,
        weights=(voc_weights("deeplabv3_resnet50_coco-cd0a2569.pth", size_mib=160.515, mean_iou=0.664),),
        **_COMMON,
    ),
    Entry(
        name="deeplabv3_resnet101",
        config=DilatedConfig(depths=(3, 4, 23, 3)),
        num_params=58_630_997,
        macs=248_752_300_288,
        weights=(voc_weights("deeplabv3_resnet101_coco-586e9e4e.pth", size_mib=233.217, mean_iou=0.674),),
        **_COMMON,
    ),
)
