"""ZFNet (Zeiler & Fergus 2013, arXiv:1311.2901). N images, C channels, K classes.

AlexNet with finer first filters and without towers (figure 3). `zfnet_512` is the form of Table 2 with 512, 1024 and
512 maps in the last three convolutions.

Departures: the paper does not say how edges are treated; its sizes, 110, 55, 26, 13 and 6 pixels, follow from one row
of padding around the image and from pooling that rounds its size up. It says that responses are normalised across maps
but not by how much: the constants are AlexNet's. "All weights are initialized to 0.01" is taken as their deviation.
The paper scales filters back to a root mean square of 0.1 while it trains, which is the training's business.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.dense_classifier import dense_classifier
from striate.layers.initialization import draw_small_normal
from striate.layers.local_response_norm import local_response_norm
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published

SIZE = (224, 224)


@dataclass(frozen=True)
class ZFNetConfig:
    """Channels in, classes out, the maps of the five convolutions, the units of a hidden layer, and dropout there."""

    in_channels: int = 3
    num_classes: int = 1000
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    hidden_width: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        if len(self.widths) != 5 or min(*self.widths, self.hidden_width) < 1:
            raise InputError(
                f"widths must be five numbers and hidden_width one, each at least 1, "
                f"but are {self.widths} and {self.hidden_width}"
            )


class ZFNet(nn.Module):
    """Figure 3: images (N, C, 224, 224) -> logits (N, K)."""

    def __init__(self, config: ZFNetConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third, fourth, fifth = config.widths
        self.features = nn.Sequential(
            nn.Conv2d(config.in_channels, first, 7, stride=2, padding=1), nn.ReLU(), pool(), local_response_norm(),
            nn.Conv2d(first, second, 5, stride=2), nn.ReLU(), pool(), local_response_norm(),
            nn.Conv2d(second, third, 3, padding=1), nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1), nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1), nn.ReLU(), pool(),
        )  # fmt: skip
        self.classifier = dense_classifier(
            fifth * 6 * 6, config.num_classes, hidden_width=config.hidden_width, dropout=config.dropout
        )
        draw_small_normal(self, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 224, 224) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, SIZE, is_fixed_size=True, network="this ZFNet")
        return self.classifier(self.features(images).flatten(1))


def pool() -> nn.MaxPool2d:
    """Overlapping 3x3 maxima at every second place, the last window allowed to hang over the border."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


_TITLE = "Visualizing and Understanding Convolutional Networks"
_PAPER = "arXiv:1311.2901"

ENTRIES = (
    Entry(
        name="zfnet", family="zfnet", year=2013, title=_TITLE, paper=_PAPER, build=ZFNet, config=ZFNetConfig(),
        input_size=(3, *SIZE), num_params=62_357_608, macs=1_168_032_896, stem="features.0", head="classifier.6",
        min_size=SIZE, is_fixed_size=True,
        published=Published(top1_error=0.384, top5_error=0.165, source="arXiv:1311.2901, Table 2, (a), one network"),
    ),
    Entry(
        name="zfnet_512", family="zfnet", year=2013, title=_TITLE, paper=_PAPER, build=ZFNet,
        config=ZFNetConfig(widths=(96, 256, 512, 1024, 512)),
        input_size=(3, *SIZE), num_params=107_627_624, macs=2_476_704_896, stem="features.0", head="classifier.6",
        min_size=SIZE, is_fixed_size=True,
        published=Published(top1_error=0.375, top5_error=0.160, source="arXiv:1311.2901, Table 2, (b), one network"),
    ),
)  # fmt: skip
