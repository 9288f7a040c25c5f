"""A fully convolutional network (Long, Shelhamer & Darrell 2014, arXiv:1411.4038) on dilated ResNets, as torchvision
builds it.

N images, C channels, H x W pixels, K classes. Parameter names are torchvision's, so that its published weights load.
Departures from the paper: the base, dilated to stride 8, so that nothing of earlier layers is added; bilinear enlarging
that is not trained; and in training an auxiliary head on the third stage, which counts half.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts, check_depths, check_images
from striate.networks.entry import Entry
from striate.networks.segmenters.dilated_resnet import WIDTHS, DilatedResNet
from striate.networks.segmenters.unet import KIND, enlarged
from striate.networks.segmenters.voc_weights import voc_weights

AUXILIARY_WEIGHT = 0.5
MIN_SIZE = (16, 16)


@dataclass(frozen=True)
class DilatedConfig:
    """Channels in, classes out, and blocks in each of the four stages."""

    in_channels: int = 3
    num_classes: int = 21
    depths: tuple[int, ...] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_depths(self.depths, num_stages=4)


class FcnResNet(nn.Module):
    """Images (N, C, H, W) -> logits (N, K, H, W), in training with auxiliary ones; `classifier` takes the maps of the
    last stage.
    """

    def __init__(self, config: DilatedConfig, classifier: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.backbone = DilatedResNet(config.in_channels, config.depths)
        self.classifier = classifier
        self.aux_classifier = fcn_head(WIDTHS[2], config.num_classes)

    def forward(self, images: Tensor) -> Tensor | WithAuxiliary:
        """Logits at stride 8, enlarged bilinearly."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this segmenter")
        third, fourth = self.backbone(images)
        logits = enlarged(self.classifier(fourth), images)
        if not self.training:
            return logits
        return WithAuxiliary(logits, (enlarged(self.aux_classifier(third), images),), AUXILIARY_WEIGHT)


def fcn_resnet(config: DilatedConfig) -> FcnResNet:
    """The head of an FCN on the last stage."""
    return FcnResNet(config, fcn_head(WIDTHS[3], config.num_classes))


def fcn_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """3x3 to a quarter of the maps, then 1x1 to K."""
    inner = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, inner, 3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(inner, num_classes, 1),
    )


_COMMON: dict[str, Any] = {
    "family": "fcn", "year": 2014, "title": "Fully Convolutional Networks for Semantic Segmentation",
    "paper": "arXiv:1411.4038",
    "build": fcn_resnet, "stem": "backbone.conv1", "head": "classifier.4", "kind": KIND, "input_size": (3, 520, 520),
    "min_size": MIN_SIZE,
    "auxiliary_heads": ("aux_classifier.4",), "num_auxiliary_params": 2_365_205,
}  # fmt: skip

ENTRIES = (
    Entry(
        name="fcn_resnet50",
        config=DilatedConfig(),
        num_params=32_957_013,
        macs=142_725_772_800,
        weights=(voc_weights("fcn_resnet50_coco-1167a1af.pth", size_mib=135.009, mean_iou=0.605),),
        **_COMMON,
    ),
    Entry(
        name="fcn_resnet101",
        config=DilatedConfig(depths=(3, 4, 23, 3)),
        num_params=51_949_141,
        macs=222_746_867_200,
        weights=(voc_weights("fcn_resnet101_coco-7ecb50ca.pth", size_mib=207.711, mean_iou=0.637),),
        **_COMMON,
    ),
)
