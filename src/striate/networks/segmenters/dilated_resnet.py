"""ResNet without its head and with dilation in place of its last two strides, so that maps have stride 8 (Chen et al.
2017, arXiv:1706.05587, section 3.1). N images, C channels, H x W pixels. Parameter names are torchvision's.
"""

from torch import Tensor, nn

from striate.layers.residual import Bottleneck, bottleneck, draw_weights, make_stage

WIDTHS = (256, 512, 1024, 2048)


class DilatedResNet(nn.Module):
    """Images (N, C, H, W) -> maps of the third and fourth stage, (N, 1024, H / 8, W / 8) and (N, 2048, H / 8, W / 8).

    The first block of a dilated stage has the dilation of the stage before, as torchvision builds it.
    """

    def __init__(self, in_channels: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_stage(bottleneck, 64, WIDTHS[0], depths[0], 1)
        self.layer2 = make_stage(bottleneck, WIDTHS[0], WIDTHS[1], depths[1], 2)
        self.layer3 = make_stage(bottleneck, WIDTHS[1], WIDTHS[2], depths[2], 1)
        self.layer4 = make_stage(bottleneck, WIDTHS[2], WIDTHS[3], depths[3], 1)
        for stage, before in ((self.layer3, 1), (self.layer4, 2)):
            for number, block in enumerate(stage):
                assert isinstance(block, Bottleneck)
                _dilate(block.conv2, before if number == 0 else 2 * before)
        draw_weights(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Stem and four stages."""
        maps = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        third = self.layer3(self.layer2(maps))
        return third, self.layer4(third)


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    """Spread a padded 3x3 convolution, in place."""
    conv.dilation = conv.padding = (dilation, dilation)
    conv._reversed_padding_repeated_twice = [dilation] * 4
