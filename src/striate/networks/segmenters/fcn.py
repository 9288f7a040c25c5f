"""FCN-32s, FCN-16s and FCN-8s: VGG-16 made fully convolutional, its scores enlarged and added to those of earlier pools
(Long, Shelhamer & Darrell 2014, arXiv:1411.4038). N images, C channels, H x W pixels, K classes.

Departures: the first convolution is padded by 1 and not by 100 pixels, and the 7x7 layer keeps its size, so that any
image fits without cutting; enlarging is bilinear, the paper's initial value, and not trained; batch norm is not used,
as there.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.families.vgg import make_features
from striate.networks.segmenters.unet import KIND, enlarged

FILTERS = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
WIDTHS = (64, 128, 256, 512, 512)
MIN_SIZE = (32, 32)


@dataclass(frozen=True)
class FcnConfig:
    """Channels in, classes out, maps of the two layers that were linear, and the stride of the finest scores: 32, 16 or
    8.
    """

    in_channels: int = 3
    num_classes: int = 21
    hidden_width: int = 4096
    stride: int = 8

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.stride not in (8, 16, 32):
            raise InputError(f"the finest scores of an FCN have stride 8, 16 or 32 but {self.stride} is asked for")
        if not 1 <= self.hidden_width <= 8192:
            raise InputError(f"hidden_width must be 1 to 8192 but is {self.hidden_width}")


class Fcn(nn.Module):
    """Figure 3: images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, config: FcnConfig) -> None:
        super().__init__()
        self.config = config
        self.features = make_features(config.in_channels, FILTERS, WIDTHS, "none")
        width = config.hidden_width
        self.hidden = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], width, 7, padding=3),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.classify = nn.Conv2d(width, config.num_classes, 1)
        channels = {16: WIDTHS[3], 8: WIDTHS[2]}
        self.beside = nn.ModuleDict(
            {
                str(stride): nn.Conv2d(channels[stride], config.num_classes, 1)
                for stride in (16, 8)
                if stride >= config.stride
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for layer in self.beside.values():
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]  # section 4.2: the scores of earlier pools begin at zero

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the last pool, then of earlier ones added to them."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this FCN")
        pools: list[Tensor] = []
        maps = images
        for layer in self.features:
            maps = layer(maps)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(maps)
        scores = self.classify(self.hidden(maps))
        for stride, layer in self.beside.items():
            own = layer({"16": pools[3], "8": pools[2]}[stride])
            scores = own + enlarged(scores, own)
        return enlarged(scores, images)


def _entry(stride: int, num_params: int, macs: int) -> Entry:
    return Entry(
        name=f"fcn{stride}s",
        family="fcn",
        year=2014,
        title="Fully Convolutional Networks for Semantic Segmentation",
        paper="arXiv:1411.4038",
        build=Fcn,
        config=FcnConfig(stride=stride),
        input_size=(3, 512, 512),
        num_params=num_params,
        macs=macs,
        stem="features.0",
        head="classify",
        min_size=MIN_SIZE,
        has_norm=False,
        kind=KIND,
    )


ENTRIES = (
    _entry(32, 134_346_581, 110_801_977_344),
    _entry(16, 134_357_354, 110_812_987_392),
    _entry(8, 134_362_751, 110_835_007_488),
)
