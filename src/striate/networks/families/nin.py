"""Network in Network (Lin, Chen & Yan 2013, arXiv:1312.4400). N images, C channels, K classes.

A convolution followed by 1x1 convolutions slides a small perceptron over the image ("mlpconv"); the last one has a map
a class, whose averages over all places are the logits, without any dense layer.

Widths and filters, which the paper leaves to its supplement, are those of the Caffe networks that the authors released.

Departures: the release's small network averages in its second pooling, as here, where the paper has maxima everywhere;
pooling rounds its sizes up, as Caffe does; averages of the last maps are taken over whatever size there is, the
release's 8x8 or 6x6 at 32x32 or 224x224 pixels. Weights are drawn as He et al. 2015 (arXiv:1502.01852), small ones in
the last layer, where the release has normal ones of fixed deviations, which need its rates.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

CIFAR_MIN_SIZE = (4, 4)
IMAGENET_MIN_SIZE = (39, 39)


@dataclass(frozen=True)
class NINConfig:
    """Channels in, classes out, and the share of activations dropped between the small perceptrons."""

    in_channels: int = 3
    num_classes: int = 10
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class NIN(nn.Module):
    """Any `features` ending in a map a class, and the average of each: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: NINConfig, features: nn.Sequential, min_size: tuple[int, int], name: str) -> None:
        super().__init__()
        self.config = config
        self.min_size = min_size
        self.name = name
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        convs = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        draw_he_normal(self, heads=(convs[-1],))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K), never below 0: the last maps are rectified before the average."""
        check_images(images, self.config.in_channels, self.min_size, network=self.name)
        return self.avgpool(self.features(images)).flatten(1)


def nin_cifar(config: NINConfig) -> NIN:
    """Three small perceptrons (figure 2), for 32x32 pixels."""
    features = nn.Sequential(
        *mlpconv(config.in_channels, (192, 160, 96), 5, padding=2), max_pool(), nn.Dropout(config.dropout),
        *mlpconv(96, (192, 192, 192), 5, padding=2), average_pool(), nn.Dropout(config.dropout),
        *mlpconv(192, (192, 192, config.num_classes), 3, padding=1),
    )  # fmt: skip
    return NIN(config, features, CIFAR_MIN_SIZE, "nin_cifar")


def nin_imagenet(config: NINConfig) -> NIN:
    """Four small perceptrons, for 224x224 pixels; only the last is preceded by dropout."""
    features = nn.Sequential(
        *mlpconv(config.in_channels, (96, 96, 96), 11, stride=4), max_pool(),
        *mlpconv(96, (256, 256, 256), 5, padding=2), max_pool(),
        *mlpconv(256, (384, 384, 384), 3, padding=1), max_pool(), nn.Dropout(config.dropout),
        *mlpconv(384, (1024, 1024, config.num_classes), 3, padding=1),
    )  # fmt: skip
    return NIN(config, features, IMAGENET_MIN_SIZE, "nin_imagenet")


def mlpconv(
    in_channels: int, widths: tuple[int, int, int], kernel_size: int, *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """A small network slid over maps, FxF then 1x1 twice (section 3.1): (N, C, H, W) -> (N, widths[-1], H', W')."""
    spatial, hidden, out = widths
    return [
        nn.Conv2d(in_channels, spatial, kernel_size, stride=stride, padding=padding), nn.ReLU(),
        nn.Conv2d(spatial, hidden, 1), nn.ReLU(),
        nn.Conv2d(hidden, out, 1), nn.ReLU(),
    ]  # fmt: skip


def max_pool() -> nn.MaxPool2d:
    """Overlapping 3x3 maxima at every second place, the last window allowed to hang over the border."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def average_pool() -> nn.AvgPool2d:
    """The same with averages of what lies inside the border."""
    return nn.AvgPool2d(3, stride=2, ceil_mode=True)


_TITLE = "Network In Network"
_PAPER = "arXiv:1312.4400"

ENTRIES = (
    Entry(
        name="nin_cifar", family="nin", year=2013, title=_TITLE, paper=_PAPER, build=nin_cifar, config=NINConfig(),
        input_size=(3, 32, 32), num_params=966_986, macs=222_486_528, stem="features.0", head="features.20",
        min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0881, source="arXiv:1312.4400, Table 1, CIFAR-10 with augmentation"),
    ),
    Entry(
        name="nin_imagenet", family="nin", year=2013, title=_TITLE, paper=_PAPER, build=nin_imagenet,
        config=NINConfig(num_classes=1000), input_size=(3, 224, 224), num_params=7_595_176, macs=1_100_188_800,
        stem="features.0", head="features.26", min_size=IMAGENET_MIN_SIZE,
    ),
)  # fmt: skip
