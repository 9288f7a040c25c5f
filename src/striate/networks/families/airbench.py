"""The networks of airbench94 and airbench95, made to learn CIFAR-10 fast (Jordan 2024, arXiv:2404.00498, section 3).

N images, C channels, K classes. A 2x2 convolution whitens patches of the image: its filters are the eigenvectors of the
patches' covariance, each scaled to unit variance, and their negatives. They are set from training images by
`whiten_from_images` and never trained. Three blocks of two 3x3 convolutions follow, which start as partial identities;
batch norms have a trained shift and no trained scale.

Departures: the whitening layer's bias stays trainable to the end, where the paper freezes it after three epochs to save
time; the last 3x3 maximum is one over all that is left, so that other sizes than 32 x 32 fit; all is float32 unless the
caller says otherwise, where the paper keeps 16-bit weights. Before `whiten_from_images` the first layer holds PyTorch's
random filters, frozen too, so that a resumed run and a loaded model train the same parameters. What
belongs to training (rates of the shifts, alternating flips, averaged weights, six views at test time) is not here.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

SIZE, MIN_SIZE = (32, 32), (9, 9)
PATCH_PX = 2
TINY_VARIANCE = 5e-4
"""Added to every patch variance, so that directions without signal are not blown up (the paper's epsilon)."""
_IMAGES_AT_ONCE = 500


@dataclass(frozen=True)
class AirbenchConfig:
    """Widths of the three blocks, the factor on the logits, and the share of each batch in the running statistics."""

    in_channels: int = 3
    num_classes: int = 10
    widths: tuple[int, ...] = (64, 256, 256)
    logit_scale: float = 1 / 9
    norm_momentum: float = 0.4

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise InputError(f"widths must be three numbers of at least 1 but are {self.widths}")


class Block(nn.Module):
    """Convolve, halve, normalise, convolve, normalise: (N, C, H, W) -> (N, width, H / 2, W / 2)."""

    def __init__(self, in_channels: int, width: int, norm_momentum: float) -> None:
        super().__init__()
        self.conv1 = identity_conv(in_channels, width)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = shifting_norm(width, norm_momentum)
        self.gelu1 = nn.GELU()
        self.conv2 = identity_conv(width, width)
        self.norm2 = shifting_norm(width, norm_momentum)
        self.gelu2 = nn.GELU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H // 2, W // 2)."""
        maps = self.gelu1(self.norm1(self.pool(self.conv1(maps))))
        return self.gelu2(self.norm2(self.conv2(maps)))


class Scale(nn.Module):
    """Multiply by a fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (N, K) -> logits (N, K)."""
        return logits * self.factor

    def extra_repr(self) -> str:
        """The factor, shown when the network is printed."""
        return f"factor={self.factor:g}"


class WholeMax(nn.Module):
    """The maximum of each map, by the kernels for windows: PyTorch's adaptive ones take 7 % of a step on a GPU."""

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1); the paper's 3x3 for images of 32 x 32."""
        return F.max_pool2d(maps, maps.shape[2:])


class Airbench(nn.Module):
    """Whitening, three blocks, maximum over what is left, linear: images (N, C, H, W), normalised -> logits."""

    def __init__(self, config: AirbenchConfig) -> None:
        super().__init__()
        self.config = config
        whitened_channels = 2 * config.in_channels * PATCH_PX**2
        self.whiten = nn.Conv2d(config.in_channels, whitened_channels, PATCH_PX)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.get_parameter("bias"))
        self.gelu = nn.GELU()
        self.block1 = Block(whitened_channels, config.widths[0], config.norm_momentum)
        self.block2 = Block(config.widths[0], config.widths[1], config.norm_momentum)
        self.block3 = Block(config.widths[1], config.widths[2], config.norm_momentum)
        self.pool = WholeMax()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(config.widths[2], config.num_classes, bias=False)
        self.scale = Scale(config.logit_scale)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of at least 9 x 9 -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="airbench94_cifar")
        maps = self.gelu(self.whiten(images))  # (N, 24, H - 1, W - 1) for colour
        maps = self.block3(self.block2(self.block1(maps)))  # (N, 256, 3, 3) for 32 x 32
        return self.scale(self.head(self.flatten(self.pool(maps))))


def identity_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A padded 3x3 convolution whose first filters hand their channel on; the others stay random."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[:in_channels])
    return conv


def shifting_norm(num_features: int, momentum: float) -> nn.BatchNorm2d:
    """Batch norm with a trained shift and the scale fixed at 1."""
    norm = nn.BatchNorm2d(num_features, eps=1e-12, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm


def whiten_from_images(network: nn.Module, images: Tensor) -> None:
    """Set the first layer's filters from training images (N, C, H, W), normalised as the network gets them; in place.

    A few thousand images are enough (the paper takes 5000). Filters are ordered from the largest variance to the
    smallest, then their negatives; their signs are those of the eigensolver, made unique by a positive largest
    component. The filters stay frozen and the bias as it is. Raises InputError for another network and for images that
    do not fit.
    """
    if not isinstance(network, Airbench):
        raise InputError(f"only airbench networks are whitened from images but this is a {type(network).__name__}")
    if images.ndim != 4 or images.shape[1] != network.config.in_channels or len(images) == 0:
        raise InputError(
            f"whitening needs normalised images (N, {network.config.in_channels}, H, W) but got {tuple(images.shape)}"
        )
    if not images.isfinite().all():
        raise InputError("whitening needs finite images but some values are NaN or infinite")
    filters = whitening_filters(images).to(torch.float32)  # before it goes to a device that may lack float64
    with torch.no_grad():
        network.whiten.weight.copy_(torch.cat([filters, -filters]))


def whitening_filters(images: Tensor) -> Tensor:
    """Images (N, C, H, W) -> (4 * C, C, 2, 2): eigenvectors of the patches' second moments, scaled to unit variance."""
    channels = images.shape[1]
    moments = torch.zeros(channels * PATCH_PX**2, channels * PATCH_PX**2, dtype=torch.float64)
    num_patches = 0
    for batch in images.split(_IMAGES_AT_ONCE):
        # on the CPU, since not every device has float64; (N, 4 * C, places) -> (4 * C, N * places)
        patches = F.unfold(batch.to("cpu", torch.float64), PATCH_PX).transpose(0, 1).flatten(1)
        moments += patches @ patches.T
        num_patches += patches.shape[1]
    variances, directions = torch.linalg.eigh(moments / num_patches)  # ascending; one direction a column
    directions = directions.flip(1).T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    scaled = directions * largest.sign() / (variances.flip(0) + TINY_VARIANCE).sqrt()[:, None]
    return scaled.reshape(-1, channels, PATCH_PX, PATCH_PX)


def _entry(name: str, widths: tuple[int, int, int], num_params: int, macs: int, top1_error: float) -> Entry:
    return Entry(
        name=name, family="airbench", year=2024, title="94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
        paper="arXiv:2404.00498", build=Airbench, config=AirbenchConfig(widths=widths), input_size=(3, *SIZE),
        num_params=num_params, macs=macs, stem="whiten", head="head", min_size=MIN_SIZE,
        initialize_from_images=whiten_from_images,
        published=Published(top1_error=top1_error, source="arXiv:2404.00498, CIFAR-10, six views an image"),
    )  # fmt: skip


ENTRIES = (
    _entry("airbench94_cifar", (64, 256, 256), 1_972_792, 118_147_360, 0.06),
    _entry("airbench95_cifar", (128, 384, 384), 4_606_520, 301_560_864, 0.05),
)
