"""OverFeat, the fast and the accurate form (Sermanet et al. 2013, arXiv:1312.6229). N images, C channels, K classes.

AlexNet's plan with pooling that does not overlap, finer strides and no response normalisation. The layers that are
dense at the size it was trained at are convolutions, so that a larger image gives a map of answers, one for each place
of that window in steps of 32 (fast) or 36 pixels (accurate).

Departures: the answer for an image is the average of its map of logits; the paper takes the largest answer over the
places for each class and averages over scales and mirror images. Its finer grid, which pools once more from every
offset, is left to whoever slides the window.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.initialization import draw_small_normal
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published

Rows = tuple[tuple[int, int, int, int, int], ...]
"""For each convolution: maps, filter size, stride, padding, and side of the pooling after it, 1 for none."""

FAST: Rows = (
    (96, 11, 4, 0, 2), (256, 5, 1, 0, 2), (512, 3, 1, 1, 1), (1024, 3, 1, 1, 1), (1024, 3, 1, 1, 2),
)  # fmt: skip
"""Table 1."""
ACCURATE: Rows = (
    (96, 7, 2, 0, 3), (256, 7, 1, 0, 2), (512, 3, 1, 1, 1), (512, 3, 1, 1, 1), (1024, 3, 1, 1, 1), (1024, 3, 1, 1, 3),
)  # fmt: skip
"""Table 3."""


@dataclass(frozen=True)
class OverFeatConfig:
    """The convolutions, row by row, the side of the maps that the first dense layer sees, and the units of the hidden
    ones, after each of which a share is dropped in training.
    """

    in_channels: int = 3
    num_classes: int = 1000
    convolutions: Rows = FAST
    classifier_size: int = 6
    hidden_widths: tuple[int, ...] = (3072, 4096)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        if not self.convolutions or any(not _is_row(row) for row in self.convolutions):
            raise InputError(
                "convolutions must be rows of maps, filter size, stride, padding and pooling, each at least 1 "
                f"but the padding, but are {self.convolutions}"
            )
        if any(number < 1 for number in (self.classifier_size, *self.hidden_widths)):
            raise InputError(
                "classifier_size and hidden_widths must be at least 1 "
                f"but are {self.classifier_size} and {self.hidden_widths}"
            )

    @property
    def window(self) -> int:
        """Side, in pixels, of the smallest square image that gives an answer: the one it is trained at."""
        side = self.classifier_size
        for _, kernel_size, stride, padding, pooling in reversed(self.convolutions):
            side = (side * pooling - 1) * stride + kernel_size - 2 * padding
        return side


def _is_row(row: tuple[int, ...]) -> bool:
    return len(row) == 5 and all(number >= (0 if column == 3 else 1) for column, number in enumerate(row))


class OverFeat(nn.Module):
    """Convolutions all the way: images (N, C, H, W) of at least the window -> logits (N, K)."""

    def __init__(self, config: OverFeatConfig) -> None:
        super().__init__()
        self.config = config
        self.features = make_features(config)
        self.classifier = make_classifier(config)
        draw_small_normal(self, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K), the average of `logit_map`; InputError below the window."""
        return self.logit_map(images).mean(dim=(2, 3))

    def logit_map(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K, h, w), one answer for each place of the window; 1x1 at its own size."""
        window = (self.config.window, self.config.window)
        check_images(images, self.config.in_channels, window, network="this OverFeat")
        return self.classifier(self.features(images))


def make_features(config: OverFeatConfig) -> nn.Sequential:
    """The convolutions, each rectified and pooled where its row says so: (N, C, H, W) -> (N, last maps, h, w)."""
    layers: list[nn.Module] = []
    in_channels = config.in_channels
    for width, kernel_size, stride, padding, pooling in config.convolutions:
        layers += [nn.Conv2d(in_channels, width, kernel_size, stride=stride, padding=padding), nn.ReLU()]
        if pooling > 1:
            layers.append(nn.MaxPool2d(pooling))
        in_channels = width
    return nn.Sequential(*layers)


def make_classifier(config: OverFeatConfig) -> nn.Sequential:
    """The dense layers as convolutions: (N, last maps, h, w) -> (N, K, h - size + 1, w - size + 1)."""
    layers: list[nn.Module] = []
    in_channels, kernel_size = config.convolutions[-1][0], config.classifier_size
    for width in config.hidden_widths:
        layers += [nn.Conv2d(in_channels, width, kernel_size), nn.ReLU(), nn.Dropout(config.dropout)]
        in_channels, kernel_size = width, 1
    return nn.Sequential(*layers, nn.Conv2d(in_channels, config.num_classes, kernel_size))


_TITLE = "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks"
_PAPER = "arXiv:1312.6229"

ENTRIES = (
    Entry(
        name="overfeat_fast", family="overfeat", year=2013, title=_TITLE, paper=_PAPER, build=OverFeat,
        config=OverFeatConfig(), input_size=(3, 231, 231), num_params=145_920_872, macs=2_801_403_904,
        stem="features.0", head="classifier.6", min_size=(231, 231),
        published=Published(
            top1_error=0.3857, top5_error=0.1639, source="arXiv:1312.6229, Table 2, one model, 4 scales, fine stride"
        ),
    ),
    Entry(
        name="overfeat_accurate", family="overfeat", year=2013, title=_TITLE, paper=_PAPER, build=OverFeat,
        config=OverFeatConfig(convolutions=ACCURATE, classifier_size=5, hidden_widths=(4096, 4096)),
        input_size=(3, 221, 221), num_params=144_656_488, macs=5_355_446_784,
        stem="features.0", head="classifier.6", min_size=(221, 221),
        published=Published(
            top1_error=0.3574, top5_error=0.1418, source="arXiv:1312.6229, Table 2, one model, 4 scales, fine stride"
        ),
    ),
)  # fmt: skip
