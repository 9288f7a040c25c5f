"""SqueezeNet 1.0 and 1.1 and two forms with bypasses (Iandola et al. 2016, arXiv:1602.07360).

N images, C channels, K classes. Parameter names and initialisation are torchvision's, so that its published weights
load. Departures: pooling rounds its size up, as the authors' Caffe network does and the paper does not say; 1.1 is the
authors' later form, described in their repository only. The complex bypass follows section 6 and figure 2, which give
it 1.59 million parameters, or 6.1 MB; the 7.7 MB of Table 3 do not follow from them. Where a bypass and a Fire module
are added, one of them starts small: drawn alike, their sums grow from module to module until every output is dead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE_1_0 = (21, 21)
MIN_SIZE_1_1 = (17, 17)
ADDED_SCALE = 0.25
"""First weights of what is added to a bypass, or of a bypass that has some, against those of other layers."""


@dataclass(frozen=True)
class SqueezeNetConfig:
    """Channels in, classes out, and the share of activations dropped before the last convolution."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)


class Fire(nn.Module):
    """Squeeze to few maps, expand by 1x1 and 3x3 side by side (section 3.2): (N, C, H, W) -> (N, 2 * expand, H, W)."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> the 1x1 maps, then the 3x3 maps: (N, 2 * expand, H, W)."""
        squeezed = self.squeeze_activation(self.squeeze(maps))
        narrow = self.expand1x1_activation(self.expand1x1(squeezed))
        wide = self.expand3x3_activation(self.expand3x3(squeezed))
        return torch.cat([narrow, wide], dim=1)


class BypassedFire(nn.Module):
    """A Fire module beside a bypass, added up (section 6): (N, C, H, W) -> (N, 2 * expand, H, W)."""

    def __init__(self, fire: Fire, bypass: nn.Module) -> None:
        super().__init__()
        self.fire = fire
        self.bypass = bypass

    def forward(self, maps: Tensor) -> Tensor:
        """What the module makes of the maps plus what the bypass leaves of them."""
        return self.fire(maps) + self.bypass(maps)


MakeFire = Callable[[int, int, int], nn.Module]
"""Takes channels in, channels squeezed to, and those of each half of the expansion."""


class SqueezeNet(nn.Module):
    """Any `features` ending in 512 maps, then a 1x1 convolution to K maps and their averages: logits (N, K)."""

    def __init__(self, config: SqueezeNetConfig, features: nn.Sequential, min_size: tuple[int, int], name: str) -> None:
        super().__init__()
        self.config = config
        self.min_size = min_size
        self.name = name
        self.features = features
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout), nn.Conv2d(512, config.num_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K), never below 0: the paper has a ReLU before the average."""
        check_images(images, self.config.in_channels, self.min_size, network=self.name)
        return self.classifier(self.features(images)).flatten(1)


def squeezenet1_0(config: SqueezeNetConfig) -> SqueezeNet:
    """Table 1, without bypasses."""
    return SqueezeNet(config, features_1_0(config.in_channels, Fire, Fire), MIN_SIZE_1_0, "squeezenet1_0")


def squeezenet1_0_simple_bypass(config: SqueezeNetConfig) -> SqueezeNet:
    """Figure 2, middle: fire3, 5, 7 and 9 add their input, which has as many maps, to their output."""
    features = features_1_0(config.in_channels, Fire, simple_bypass)
    return SqueezeNet(config, features, MIN_SIZE_1_0, "squeezenet1_0_simple_bypass")


def squeezenet1_0_complex_bypass(config: SqueezeNetConfig) -> SqueezeNet:
    """Figure 2, right: fire2, 4, 6 and 8 have a bypass too, a 1x1 convolution to as many maps as they give."""
    features = features_1_0(config.in_channels, complex_bypass, simple_bypass)
    return SqueezeNet(config, features, MIN_SIZE_1_0, "squeezenet1_0_complex_bypass")


def features_1_0(in_channels: int, widen: MakeFire, keep: MakeFire) -> nn.Sequential:
    """Table 1: 7x7 stem of 96 filters, pooling after conv1, fire4 and fire8: (N, C, H, W) -> (N, 512, h, w).

    `widen` makes fire2, 4, 6 and 8, which give more maps than they take; `keep` makes fire3, 5, 7 and 9.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, 96, 7, stride=2), nn.ReLU(), pool(),
        widen(96, 16, 64), keep(128, 16, 64), widen(128, 32, 128), pool(),
        keep(256, 32, 128), widen(256, 48, 192), keep(384, 48, 192), widen(384, 64, 256), pool(),
        keep(512, 64, 256),
    )  # fmt: skip


def simple_bypass(in_channels: int, squeeze: int, expand: int) -> BypassedFire:
    """A Fire module that adds what it took to what it gives, without parameters."""
    return BypassedFire(Fire(in_channels, squeeze, expand), nn.Identity())


def complex_bypass(in_channels: int, squeeze: int, expand: int) -> BypassedFire:
    """A Fire module beside a 1x1 convolution."""
    return BypassedFire(Fire(in_channels, squeeze, expand), nn.Conv2d(in_channels, 2 * expand, 1))


def squeezenet1_1(config: SqueezeNetConfig) -> SqueezeNet:
    """The authors' cheaper form: 3x3 stem of 64 filters, pooling earlier, 2.4 times fewer multiply-adds."""
    features = nn.Sequential(
        nn.Conv2d(config.in_channels, 64, 3, stride=2), nn.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip
    return SqueezeNet(config, features, MIN_SIZE_1_1, "squeezenet1_1")


def pool() -> nn.MaxPool2d:
    """Overlapping 3x3 maxima at every second place, the last window allowed to hang over the border."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def draw_weights(network: SqueezeNet) -> None:
    """Draw as torchvision does, in place: He uniform; the last convolution normal with deviation 0.01; biases zero."""
    head = network.classifier[1]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if module is head:
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, BypassedFire):
            start_small(module)


@torch.no_grad()
def start_small(block: BypassedFire) -> None:
    """Scale down, in place, the weights of the 1x1 bypass where there is one, else of the module's expansions."""
    has_weights = isinstance(block.bypass, nn.Conv2d)
    for layer in (block.bypass,) if has_weights else (block.fire.expand1x1, block.fire.expand3x3):
        layer.get_parameter("weight").mul_(ADDED_SCALE)


_TITLE = "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size"
_PAPER = "arXiv:1602.07360"

ENTRIES = (
    Entry(
        name="squeezenet1_0", family="squeezenet", year=2016, title=_TITLE, paper=_PAPER, build=squeezenet1_0,
        config=SqueezeNetConfig(), input_size=(3, 224, 224), num_params=1_248_424, macs=818_924_576,
        stem="features.0", head="classifier.1", min_size=MIN_SIZE_1_0,
        published=Published(top1_error=0.425, top5_error=0.197, source="arXiv:1602.07360, Table 2"),
        weights=(imagenet_weights("squeezenet1_0-b66bff10.pth", size_mib=4.778, top1=0.58092, top5=0.80420),),
    ),
    Entry(
        name="squeezenet1_0_simple_bypass", family="squeezenet", year=2016, title=_TITLE, paper=_PAPER,
        build=squeezenet1_0_simple_bypass, config=SqueezeNetConfig(), input_size=(3, 224, 224),
        num_params=1_248_424, macs=818_924_576, stem="features.0", head="classifier.1", min_size=MIN_SIZE_1_0,
        published=Published(top1_error=0.396, top5_error=0.175, source="arXiv:1602.07360, Table 3"),
    ),
    Entry(
        name="squeezenet1_0_complex_bypass", family="squeezenet", year=2016, title=_TITLE, paper=_PAPER,
        build=squeezenet1_0_complex_bypass, config=SqueezeNetConfig(), input_size=(3, 224, 224),
        num_params=1_589_672, macs=1_165_298_720, stem="features.0", head="classifier.1", min_size=MIN_SIZE_1_0,
        published=Published(top1_error=0.412, top5_error=0.180, source="arXiv:1602.07360, Table 3"),
    ),
    Entry(
        name="squeezenet1_1", family="squeezenet", year=2016, title=_TITLE, paper=_PAPER, build=squeezenet1_1,
        config=SqueezeNetConfig(), input_size=(3, 224, 224), num_params=1_235_496, macs=349_151_936,
        stem="features.0", head="classifier.1", min_size=MIN_SIZE_1_1,
        weights=(imagenet_weights("squeezenet1_1-b8a52dc0.pth", size_mib=4.729, top1=0.58178, top5=0.80624),),
    ),
)  # fmt: skip
