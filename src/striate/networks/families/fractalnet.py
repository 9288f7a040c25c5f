"""FractalNets (Larsson, Maire & Shakhnarovich 2016, arXiv:1605.07648). N images, C channels, K classes.

A block joins columns of 1, 2, 4, ... convolutions by their means, wherever they end at the same depth (equations 1
and 2). In training whole paths are left out: for some images each join loses some of its inputs (local drop-path),
for the others one column alone is kept in all blocks (global drop-path).

`fractalnet20_cifar` has the filters that section 4 names; the paper prints 38.6 million parameters for it, but these
filters make 33.7 million, in its authors' script too. `fractalnet40_cifar100` is the network with four columns among
the ultra-deep ones, a quarter as wide; here dropout and drop-path are off unless asked for.

Departures: what is dropped is drawn for every image, not for the batch. Convolutions have no biases, since batch
norms follow, with scales and shifts. The last maps are averaged, so that images may be larger than 32x32; the last
weights start small. As in the authors' code the columns of a block are pooled before they are joined.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

NO_COLUMN = -1
"""In place of a column's number for images with local drop-path."""
HEAD_STD = 0.01


@dataclass(frozen=True)
class FractalNetConfig:
    """`widths[i]` filters in block i, in `num_columns` columns, each with twice the convolutions of the one before.

    `dropouts[i]` is the share dropped behind each convolution of block i; `local_drop_path` the probability that a join
    loses an input, `global_drop_path` that an image sees one column only.
    """

    in_channels: int = 3
    num_classes: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    num_columns: int = 3
    dropouts: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    local_drop_path: float = 0.15
    global_drop_path: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not self.widths or min(*self.widths, self.num_columns) < 1:
            raise InputError(
                f"there must be widths, and all of them and num_columns at least 1, but they are {self.widths} "
                f"and {self.num_columns}"
            )
        if len(self.dropouts) != len(self.widths):
            raise InputError(f"dropouts {self.dropouts} and widths {self.widths} must pair up")
        rates = (*self.dropouts, self.local_drop_path, self.global_drop_path)
        if not all(0 <= rate <= 1 for rate in rates) or max(self.dropouts) == 1:
            raise InputError(f"dropouts and drop-paths must be probabilities, dropouts below 1, but are {rates}")


class ConvNormReLU(nn.Module):
    """What the paper calls a layer: 3x3 convolution, dropout, batch norm, ReLU: (N, C, H, W) -> (N, width, H, W)."""

    def __init__(self, in_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H, W)."""
        return self.relu(self.bn(self.dropout(self.conv(maps))))


class ColumnChoice(_DropoutNd):
    """Global drop-path: in training each image gets, with probability `p`, one column that is kept alone."""

    def __init__(self, num_columns: int, p: float) -> None:
        super().__init__(p, inplace=False)
        self.num_columns = num_columns

    def forward(self, images: Tensor) -> Tensor | None:
        """(N, ...) -> the number of a column for each image (N,), or NO_COLUMN; None in evaluation."""
        if not self.training or self.p == 0:
            return None
        columns = torch.randint(self.num_columns, (len(images),), device=images.device)
        is_global = torch.rand(len(images), device=images.device) < self.p
        return torch.where(is_global, columns, NO_COLUMN)


class Join(_DropoutNd):
    """The mean of the columns from number `first` on, in training over those that are kept: (N, C, H, W) each -> one.

    An image with a column of its own keeps that; any other loses each with probability `p`, but never all of them.
    """

    def __init__(self, first: int, p: float) -> None:
        super().__init__(p, inplace=False)
        self.first = first

    def forward(self, paths: list[Tensor], columns: Tensor | None = None) -> Tensor:
        """Maps (N, C, H, W) of each column, and a column's number for each image (N,) -> (N, C, H, W)."""
        if not self.training or (self.p == 0 and columns is None):
            return torch.stack(paths).mean(dim=0)
        shares = self.draw_shares(len(paths), columns, paths[0])
        weighted = [path * share[:, None, None, None] for path, share in zip(paths, shares, strict=True)]
        return torch.stack(weighted).sum(dim=0)

    def draw_shares(self, num_paths: int, columns: Tensor | None, like: Tensor) -> Tensor:
        """What each path counts for each image, (M, N), equal for those that are kept and 1 in all."""
        num_images = len(like)
        kept = torch.rand(num_paths, num_images, device=like.device) >= self.p
        numbers = torch.arange(num_paths, device=like.device)[:, None]
        survivor = torch.randint(num_paths, (num_images,), device=like.device)
        kept = torch.where(kept.any(dim=0), kept, numbers == survivor)
        if columns is not None:
            # a column that does not pass here is dropped further on, so that it is no matter what is kept
            kept = torch.where(columns >= self.first, numbers == columns - self.first, kept)
        return (kept / kept.sum(dim=0)).to(like.dtype)


class FractalBlock(nn.Module):
    """Columns side by side, joined wherever they end together, then halved: (N, C, H, W) -> (N, width, H / 2, W / 2).

    Column c has 2**c convolutions. After each step of the last column those columns join whose convolutions end there.
    """

    def __init__(self, in_channels: int, width: int, num_columns: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.columns = nn.ModuleList(
            nn.ModuleList(
                ConvNormReLU(in_channels if number == 0 else width, width, dropout) for number in range(2**column)
            )
            for column in range(num_columns)
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in range(num_columns))
        self.firsts = [first_column(step, num_columns) for step in range(1, 2 ** (num_columns - 1) + 1)]
        self.joins = nn.ModuleDict(
            {
                str(step): Join(first, drop_path)
                for step, first in enumerate(self.firsts, start=1)
                if first < num_columns - 1
            }
        )

    def forward(self, maps: Tensor, columns: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and each image's column if it has one alone -> (N, width, H / 2, W / 2)."""
        states = [maps] * len(self.columns)
        for step, first in enumerate(self.firsts, start=1):
            for column, state in enumerate(states[first:], start=first):
                stride = 2 ** (len(states) - 1 - column)
                states[column] = self.columns.get_submodule(f"{column}.{step // stride - 1}")(state)
            if step == len(self.firsts):
                states = [pool(state) for pool, state in zip(self.pools, states, strict=True)]
            if str(step) in self.joins:
                states[first:] = [self.joins[str(step)](states[first:], columns)] * len(states[first:])
        return states[-1]


class FractalNet(nn.Module):
    """Fractal blocks, average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: FractalNetConfig) -> None:
        super().__init__()
        self.config = config
        self.min_size = (2 ** len(config.widths), 2 ** len(config.widths))
        self.choice = ColumnChoice(config.num_columns, config.global_drop_path)
        widths = (config.in_channels, *config.widths)
        self.blocks = nn.ModuleList(
            FractalBlock(in_channels, width, config.num_columns, dropout, config.local_drop_path)
            for in_channels, width, dropout in zip(widths, config.widths, config.dropouts, strict=False)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.widths[-1], config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, self.min_size, network="this FractalNet")
        columns = self.choice(images)
        maps = images
        for block in self.blocks:
            maps = block(maps, columns)
        return self.fc(self.avgpool(maps).flatten(1))


def first_column(step: int, num_columns: int) -> int:
    """The shallowest column whose convolutions end after `step` steps of the deepest: all do after the last step."""
    return next(column for column in range(num_columns) if step % 2 ** (num_columns - 1 - column) == 0)


def draw_weights(network: nn.Module) -> None:
    """Glorot & Bengio's uniform weights, as in the authors' code, in place; a small head, its biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=HEAD_STD)
            nn.init.zeros_(module.bias)


_TITLE = "FractalNet: Ultra-Deep Neural Networks without Residuals"
_PAPER = "arXiv:1605.07648"

ENTRIES = (
    Entry(
        name="fractalnet20_cifar", family="fractalnet", year=2016, title=_TITLE, paper=_PAPER, build=FractalNet,
        config=FractalNetConfig(), input_size=(3, 32, 32), num_params=33_724_618, macs=845_222_912,
        stem="blocks.0.columns.0.0.conv", other_stems=tuple(f"blocks.0.columns.{column}.0.conv" for column in (1, 2)),
        head="fc", min_size=(32, 32),
        published=Published(
            top1_error=0.046, source="arXiv:1605.07648, Table 1, CIFAR-10+, with dropout and drop-path, 20 layers"
        ),
    ),
    Entry(
        name="fractalnet40_cifar100", family="fractalnet", year=2016, title=_TITLE, paper=_PAPER, build=FractalNet,
        config=FractalNetConfig(
            num_classes=100, widths=(16, 32, 64, 128, 128), num_columns=4, dropouts=(0.0,) * 5, local_drop_path=0.0,
            global_drop_path=0.0,
        ),
        input_size=(3, 32, 32), num_params=4_778_820, macs=128_594_432, stem="blocks.0.columns.0.0.conv",
        other_stems=tuple(f"blocks.0.columns.{column}.0.conv" for column in (1, 2, 3)), head="fc", min_size=(32, 32),
    ),
)  # fmt: skip
