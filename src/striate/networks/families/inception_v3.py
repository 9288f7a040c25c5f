"""Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, arXiv:1512.00567).

N images, C channels, H x W pixels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. Departures, all of them the
authors' released network, which torchvision follows: the stem is a 1x1 and a 3x3 convolution and a pooling where Table
1 has three 3x3 convolutions; averages count the padding as zeros; the auxiliary loss counts 0.4 of the main one, as in
the authors' training code, while the paper prints no weight (GoogLeNet's was 0.3). The auxiliary head takes 5x5 windows
at every third place as torchvision's, and where these leave fewer than 5x5 places, below 299x299, it averages to 5x5,
so that smaller images can be trained on too. torchvision maps ImageNet's normalisation to [-1, 1] inside the network;
here the weights' preprocessing does the same, as googlenet.py explains.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.basic_conv import BasicConv
from striate.layers.initialization import draw_truncated_normal
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import HALF, imagenet_preprocessing, imagenet_weights

MIN_SIZE = (75, 75)


@dataclass(frozen=True)
class InceptionV3Config:
    """Channels in, classes out, the share dropped before the last layer, and how much the auxiliary loss counts."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.5
    auxiliary_weight: float = 0.4

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        if not self.auxiliary_weight >= 0:
            raise InputError(f"auxiliary_weight must be at least 0 but is {self.auxiliary_weight!r}")


class MixedA(nn.Module):
    """Figure 5, at 35x35, with one 5x5 left: (N, C, H, W) -> (N, 224 + pool_width, H, W)."""

    def __init__(self, in_channels: int, pool_width: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv(48, 64, 5)
        self.branch3x3dbl_1 = BasicConv(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3)
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv(in_channels, pool_width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """1x1, 5x5, 3x3 twice, pooled: (N, 64 + 64 + 96 + pool_width, H, W)."""
        wide = self.branch5x5_2(self.branch5x5_1(maps))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        pooled = self.branch_pool(self.avgpool(maps))
        return torch.cat([self.branch1x1(maps), wide, double, pooled], dim=1)


class ReductionA(nn.Module):
    """Figure 10: 35x35 to 17x17 in three ways: (N, C, H, W) -> (N, 480 + C, (H - 1) // 2, (W - 1) // 2)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv(in_channels, 384, 3, stride=2, is_padded=False)
        self.branch3x3dbl_1 = BasicConv(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, stride=2, is_padded=False)
        self.maxpool = nn.MaxPool2d(3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """3x3, 3x3 twice, pooled: (N, 384 + 96 + C, (H - 1) // 2, (W - 1) // 2)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch3x3(maps), double, self.maxpool(maps)], dim=1)


class MixedB(nn.Module):
    """Figure 6, at 17x17: 7x7 as 1x7 and 7x1, once and twice: (N, C, H, W) -> (N, 768, H, W)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv(in_channels, width, 1)
        self.branch7x7_2 = BasicConv(width, width, (1, 7))
        self.branch7x7_3 = BasicConv(width, 192, (7, 1))
        self.branch7x7dbl_1 = BasicConv(in_channels, width, 1)
        self.branch7x7dbl_2 = BasicConv(width, width, (7, 1))
        self.branch7x7dbl_3 = BasicConv(width, width, (1, 7))
        self.branch7x7dbl_4 = BasicConv(width, width, (7, 1))
        self.branch7x7dbl_5 = BasicConv(width, 192, (1, 7))
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv(in_channels, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """1x1, 7x7, 7x7 twice, pooled: (N, 4 * 192, H, W)."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(self.avgpool(maps))
        return torch.cat([self.branch1x1(maps), single, double, pooled], dim=1)


class ReductionB(nn.Module):
    """17x17 to 8x8 in three ways: (N, C, H, W) -> (N, 512 + C, (H - 1) // 2, (W - 1) // 2)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv(192, 320, 3, stride=2, is_padded=False)
        self.branch7x7x3_1 = BasicConv(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv(192, 192, (1, 7))
        self.branch7x7x3_3 = BasicConv(192, 192, (7, 1))
        self.branch7x7x3_4 = BasicConv(192, 192, 3, stride=2, is_padded=False)
        self.maxpool = nn.MaxPool2d(3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """3x3, 7x7 and 3x3, pooled: (N, 320 + 192 + C, (H - 1) // 2, (W - 1) // 2)."""
        single = self.branch3x3_2(self.branch3x3_1(maps))
        crossed = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps)))
        return torch.cat([single, self.branch7x7x3_4(crossed), self.maxpool(maps)], dim=1)


class MixedC(nn.Module):
    """Figure 7, at 8x8: 3x3 spread out as 1x3 beside 3x1: (N, C, H, W) -> (N, 2048, H, W)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv(384, 384, (1, 3))
        self.branch3x3_2b = BasicConv(384, 384, (3, 1))
        self.branch3x3dbl_1 = BasicConv(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv(448, 384, 3)
        self.branch3x3dbl_3a = BasicConv(384, 384, (1, 3))
        self.branch3x3dbl_3b = BasicConv(384, 384, (3, 1))
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv(in_channels, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """1x1, 1x3 and 3x1, the same after a 3x3, pooled: (N, 320 + 768 + 768 + 192, H, W)."""
        narrow = self.branch3x3_1(maps)
        wide = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        spread = [self.branch3x3_2a(narrow), self.branch3x3_2b(narrow)]
        spread += [self.branch3x3dbl_3a(wide), self.branch3x3dbl_3b(wide)]
        pooled = self.branch_pool(self.avgpool(maps))
        return torch.cat([self.branch1x1(maps), *spread, pooled], dim=1)


class AverageFor5x5(nn.Module):
    """5x5 averages at every third place where they leave at least 5x5, else averages to 5x5: (N, C, H, W) -> (N, C, h,
    w).
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, 17, 17) -> (N, C, 5, 5)."""
        if min(maps.shape[2:]) >= 17:
            return F.avg_pool2d(maps, 5, stride=3)
        return F.adaptive_avg_pool2d(maps, 5)


class AuxiliaryHead(nn.Module):
    """Figure 8, a classifier on the last 17x17 maps, for training only: (N, C, H, W) -> logits (N, K)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.average = AverageFor5x5()
        self.conv0 = BasicConv(in_channels, 128, 1)
        self.conv1 = BasicConv(128, 768, 5, is_padded=False)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        maps = self.conv1(self.conv0(self.average(maps)))  # (N, 768, 1, 1) at 299x299
        return self.fc(self.avgpool(maps).flatten(1))


class InceptionV3(nn.Module):
    """Table 1: images (N, C, H, W) of at least 75x75 -> logits (N, K).

    Training needs two images or more: the auxiliary head's batch norm sees one place of each at 299x299.
    """

    def __init__(self, config: InceptionV3Config) -> None:
        super().__init__()
        self.config = config
        self.Conv2d_1a_3x3 = BasicConv(config.in_channels, 32, 3, stride=2, is_padded=False)
        self.Conv2d_2a_3x3 = BasicConv(32, 32, 3, is_padded=False)
        self.Conv2d_2b_3x3 = BasicConv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv(80, 192, 3, is_padded=False)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = MixedA(192, 32)
        self.Mixed_5c = MixedA(256, 64)
        self.Mixed_5d = MixedA(288, 64)
        self.Mixed_6a = ReductionA(288)
        self.Mixed_6b = MixedB(768, 128)
        self.Mixed_6c = MixedB(768, 160)
        self.Mixed_6d = MixedB(768, 160)
        self.Mixed_6e = MixedB(768, 192)
        self.AuxLogits = AuxiliaryHead(768, config.num_classes)
        self.Mixed_7a = ReductionB(768)
        self.Mixed_7b = MixedC(1280)
        self.Mixed_7c = MixedC(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(2048, config.num_classes)
        draw_truncated_normal(
            self, std=0.1, other_stds={self.AuxLogits.conv1.conv: 0.01, self.AuxLogits.fc: 0.001}
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor | WithAuxiliary:
        """Images (N, C, H, W) -> logits (N, K), in training with those of the auxiliary head."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="inception_v3")
        maps = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images))))  # (N, 64, 73, 73)
        maps = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(maps)))  # (N, 192, 35, 35)
        maps = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(maps)))  # (N, 288, 35, 35)
        middle = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(maps)))))  # (N, 768, 17, 17)
        maps = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(middle)))  # (N, 2048, 8, 8)
        logits = self.fc(self.dropout(self.avgpool(maps).flatten(1)))
        if not self.training:
            return logits
        return WithAuxiliary(logits, (self.AuxLogits(middle),), self.config.auxiliary_weight)


ENTRIES = (
    Entry(
        name="inception_v3", family="inception", year=2015,
        title="Rethinking the Inception Architecture for Computer Vision", paper="arXiv:1512.00567",
        build=InceptionV3, config=InceptionV3Config(), input_size=(3, 299, 299), num_params=23_834_568,
        macs=5_713_216_096, stem="Conv2d_1a_3x3.conv", head="fc", min_size=MIN_SIZE, auxiliary_heads=("AuxLogits.fc",),
        num_auxiliary_params=3_326_696,
        published=Published(top1_error=0.212, top5_error=0.056, source="arXiv:1512.00567, Table 3, one crop"),
        weights=(
            imagenet_weights(
                "inception_v3_google-0cc3c7bd.pth", size_mib=103.903, top1=0.77294, top5=0.93450,
                preprocessing=imagenet_preprocessing(resize_size=342, crop_size=299, mean=HALF, std=HALF),
            ),
        ),
    ),
)  # fmt: skip
