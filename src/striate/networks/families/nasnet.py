"""NASNet-A, of cells found by search (Zoph, Vasudevan, Shlens & Le 2017, arXiv:1707.07012).

N images, C channels, H x W pixels, K classes.

A cell makes five sums of pairs out of the outputs of the two cells before it. "6 @ 4032" means that six normal cells
stand before, between and after two reductions, and that 4032 maps come out of the last. Sizes are halved and borders
treated as by the authors' TensorFlow code: outputs are rounded up, even sizes padded more below and to the right, and
averages look at no border.

Departures: the auxiliary head is left out, as timm does, since its last convolution fits one image size only
(parameters and multiply-adds are printed without it). Drop-path is off unless `drop_path` is given;
`schedule_drop_path` then raises it while training goes on. Running averages are PyTorch's. The first cell of the
CIFAR form brings both its inputs, which are the same, to its width by 1x1 convolutions, as all others do; the
authors' code does so behind each operation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.drop_path import DropPath
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE, CIFAR_MIN_SIZE = (3, 3), (1, 1)
"""The stem of the large form has no padding; everything else has."""
NUM_REDUCTIONS = 2
HEAD_STD = 0.01


class Genotype(NamedTuple):
    """A cell as the search writes it (figure 4): pairs of (operation, number of its input), and what is joined.

    State 0 is the output of the cell before, 1 that of the cell before that, 2 to 6 are the sums in their order.
    """

    blocks: tuple[tuple[tuple[str, int], tuple[str, int]], ...]
    joined: tuple[int, ...]


NORMAL = Genotype(
    blocks=(
        (("separable 5x5", 0), ("separable 3x3", 1)),
        (("separable 5x5", 1), ("separable 3x3", 1)),
        (("average 3x3", 0), ("identity", 1)),
        (("average 3x3", 1), ("average 3x3", 1)),
        (("separable 3x3", 0), ("identity", 0)),
    ),
    joined=(1, 2, 3, 4, 5, 6),
)
REDUCTION = Genotype(
    blocks=(
        (("separable 5x5", 0), ("separable 7x7", 1)),
        (("maximum 3x3", 0), ("separable 7x7", 1)),
        (("average 3x3", 0), ("separable 5x5", 1)),
        (("identity", 3), ("average 3x3", 2)),
        (("separable 3x3", 2), ("maximum 3x3", 0)),
    ),
    joined=(3, 4, 5, 6),
)


@dataclass(frozen=True)
class NasNetConfig:
    """`num_cells` normal cells in each of three stacks, of `width` maps an operation, doubled at reductions.

    `num_stem_cells` reductions, each half as wide as the next, stand before the first stack; where there are any the
    first convolution, of `stem_width` maps, halves too. After a reduction the next cell sees, beside its output, the
    input of that reduction or, if `skips_reduction_input`, what came before. `drop_path` is the probability of losing
    an operation that the last cell reaches; `norm_tiny` keeps batch norms from dividing by zero.
    """

    in_channels: int = 3
    num_classes: int = 1000
    num_cells: int = 4
    width: int = 44
    stem_width: int = 32
    num_stem_cells: int = 2
    skips_reduction_input: bool = False
    dropout: float = 0.5
    drop_path: float = 0.0
    norm_tiny: float = 1e-3

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if min(self.num_cells, self.stem_width) < 1 or self.num_stem_cells < 0:
            raise InputError(
                f"num_cells and stem_width must be at least 1 and num_stem_cells at least 0 but they are "
                f"{self.num_cells}, {self.stem_width} and {self.num_stem_cells}"
            )
        divisor = 2 ** max(1, self.num_stem_cells)
        if self.width < 1 or self.width % divisor:
            raise InputError(f"width must be a multiple of {divisor}, to be halved in the stem, but is {self.width}")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be a probability below 1 but is {getattr(self, name)!r}")


class Separable(nn.Module):
    """Twice: ReLU, each map by itself, 1x1, batch norm (appendix A); the first time strided:
    (N, C, H, W) -> (N, width, H / stride, W / stride), rounded up.
    """

    def __init__(self, in_channels: int, width: int, kernel_size: int, stride: int, tiny: float) -> None:
        super().__init__()
        self.is_strided = stride > 1
        self.kernel_size = kernel_size
        padding = kernel_size // 2
        self.relu1 = nn.ReLU()
        self.depthwise1 = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, 0 if stride > 1 else padding, groups=in_channels, bias=False
        )
        self.pointwise1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=tiny)
        self.relu2 = nn.ReLU()
        self.depthwise2 = nn.Conv2d(width, width, kernel_size, padding=padding, groups=width, bias=False)
        self.pointwise2 = nn.Conv2d(width, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=tiny)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        maps = self.relu1(maps)
        if self.is_strided:
            maps = pad_for_halving(maps, self.kernel_size)
        maps = self.bn1(self.pointwise1(self.depthwise1(maps)))
        return self.bn2(self.pointwise2(self.depthwise2(self.relu2(maps))))


class Pool(nn.Module):
    """Averages or maxima of 3x3 pixels, those beyond the border left out: (N, C, H, W) -> (N, C, H / s, W / s)."""

    def __init__(self, pool: Callable[..., Tensor], stride: int) -> None:
        super().__init__()
        self.pool = pool
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / stride, W / stride), rounded up."""
        # of an even size, when halved, the first window lies inside and the last hangs over
        padding = [1 if self.stride == 1 else size % 2 for size in maps.shape[-2:]]
        return self.pool(maps, 3, self.stride, padding)


class Fit(nn.Module):
    """ReLU, 1x1 convolution, batch norm, which bring a cell's input to its width: (N, C, H, W) -> (N, width, H, W)."""

    def __init__(self, in_channels: int, width: int, tiny: float) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=tiny)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H, W)."""
        return self.bn(self.conv(self.relu(maps)))


class FitHalving(nn.Module):
    """The same for an input that is twice as large as the other: half of the maps from every second pixel, half from
    those one further down and right: (N, C, H, W) -> (N, width, H / 2, W / 2), rounded up.
    """

    def __init__(self, in_channels: int, width: int, tiny: float) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, width // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, width // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=tiny)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / 2, W / 2)."""
        maps = self.relu(maps)
        shifted = F.pad(maps, (0, 1, 0, 1))[..., 1:, 1:]
        halves = [self.conv1(maps[..., ::2, ::2]), self.conv2(shifted[..., ::2, ::2])]
        return self.bn(torch.cat(halves, dim=1))


class Block(nn.Module):
    """The sum of two operations on two of the states, each left out in training with probability `drop_path`."""

    def __init__(self, left: nn.Module, right: nn.Module, taken: tuple[int, int], drop_path: float) -> None:
        super().__init__()
        self.taken = taken
        self.left, self.right = left, right
        self.drop_left, self.drop_right = (
            None if drop_path == 0 or isinstance(operation, nn.Identity) else DropPath(drop_path)
            for operation in (left, right)
        )

    def forward(self, states: list[Tensor]) -> Tensor:
        """The states so far, (N, C, H, W) each -> the next, (N, width, h, w)."""
        left, right = self.left(states[self.taken[0]]), self.right(states[self.taken[1]])
        left = left if self.drop_left is None else self.drop_left(left)
        right = right if self.drop_right is None else self.drop_right(right)
        return left + right


class Cell(nn.Module):
    """Five sums of pairs (figure 4): two inputs -> (N, width * number joined, h, w), halved by a reduction.

    `fits` bring the output of the cell before, and of the one before that, to `channels` maps and to one size.
    """

    def __init__(
        self,
        genotype: Genotype,
        fits: tuple[nn.Module, nn.Module],
        channels: tuple[int, int],
        width: int,
        drop_path: float,
        tiny: float,
    ) -> None:
        super().__init__()
        self.joined = genotype.joined
        self.fit_current, self.fit_previous = fits
        stride = 2 if genotype is REDUCTION else 1

        def operation(kind: str, taken: int) -> nn.Module:
            is_input = taken < len(channels)
            return make_operation(kind, channels[taken] if is_input else width, width, stride if is_input else 1, tiny)

        self.blocks = nn.ModuleList(
            Block(operation(*left), operation(*right), (left[1], right[1]), drop_path)
            for left, right in genotype.blocks
        )

    def forward(self, current: Tensor, previous: Tensor) -> Tensor:
        """The outputs of the cell before and of the one before that -> this one's."""
        states = [self.fit_current(current), self.fit_previous(previous)]
        for block in self.blocks:
            states.append(block(states))
        return torch.cat([states[number] for number in self.joined], dim=1)


class Maps(NamedTuple):
    """Output channels of a cell, and how often height and width were halved."""

    channels: int
    num_halvings: int


class NasNet(nn.Module):
    """Stem, three stacks of cells with reductions between, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: NasNetConfig) -> None:
        super().__init__()
        self.config = config
        has_stem_cells = config.num_stem_cells > 0
        self.min_size = MIN_SIZE if has_stem_cells else CIFAR_MIN_SIZE
        stride, padding = (2, 0) if has_stem_cells else (1, 1)
        self.conv = nn.Conv2d(config.in_channels, config.stem_width, 3, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(config.stem_width, eps=config.norm_tiny)
        self.cells = nn.ModuleList()
        previous = current = Maps(config.stem_width, 0)
        plan = plan_cells(config)
        for number, (genotype, width, keeps_previous) in enumerate(plan, start=1):
            drop_path = config.drop_path * number / len(plan)
            self.cells.append(make_cell(genotype, current, previous, width, drop_path, config.norm_tiny))
            previous = previous if keeps_previous else current
            is_reduction = genotype is REDUCTION
            current = Maps(width * len(genotype.joined), current.num_halvings + is_reduction)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(current.channels, config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, self.min_size, network="this NASNet")
        previous = current = self.bn(self.conv(images))
        for cell, (_, _, keeps_previous) in zip(self.cells, plan_cells(self.config), strict=True):
            answer = cell(current, previous)
            previous, current = previous if keeps_previous else current, answer
        return self.fc(self.dropout(self.avgpool(self.relu(current)).flatten(1)))


def plan_cells(config: NasNetConfig) -> list[tuple[Genotype, int, bool]]:
    """Every cell in order: genotype, maps of each operation, and whether the next one sees this one's second input."""
    plan = [(REDUCTION, config.width // 2**number, False) for number in range(config.num_stem_cells, 0, -1)]
    for number in range(NUM_REDUCTIONS + 1):
        width = config.width * 2**number
        if number > 0:
            plan.append((REDUCTION, width, config.skips_reduction_input))
        plan += [(NORMAL, width, False)] * config.num_cells
    return plan


def make_cell(genotype: Genotype, current: Maps, previous: Maps, width: int, drop_path: float, tiny: float) -> Cell:
    """A cell whose inputs are brought to its width; the very first reduction takes its second input as it is."""
    fit_previous: nn.Module
    if previous.num_halvings < current.num_halvings:
        fit_previous, channels = FitHalving(previous.channels, width, tiny), width
    elif genotype is REDUCTION and previous is current:
        fit_previous, channels = nn.Identity(), previous.channels
    else:
        fit_previous, channels = Fit(previous.channels, width, tiny), width
    fits = (Fit(current.channels, width, tiny), fit_previous)
    return Cell(genotype, fits, (width, channels), width, drop_path, tiny)


def make_operation(kind: str, in_channels: int, width: int, stride: int, tiny: float) -> nn.Module:
    """The operation that a genotype calls `kind`."""
    if kind == "identity":
        return nn.Identity()
    name, _, size = kind.partition(" ")
    if name == "separable":
        return Separable(in_channels, width, int(size[0]), stride, tiny)
    return Pool(average if name == "average" else maximum, stride)


def average(maps: Tensor, kernel_size: int, stride: int, padding: list[int]) -> Tensor:
    """Averages over what lies inside the border."""
    return F.avg_pool2d(maps, kernel_size, stride, padding, ceil_mode=True, count_include_pad=False)


def maximum(maps: Tensor, kernel_size: int, stride: int, padding: list[int]) -> Tensor:
    """Maxima over what lies inside the border."""
    return F.max_pool2d(maps, kernel_size, stride, padding, ceil_mode=True)


def pad_for_halving(maps: Tensor, kernel_size: int) -> Tensor:
    """Zeros around maps so that stride 2 gives half their size, rounded up: of even sizes one less above and left."""
    after = kernel_size // 2
    top, left = (after - 1 + size % 2 for size in maps.shape[-2:])
    return F.pad(maps, (left, after, top, after))


def schedule_drop_path(network: NasNet, progress: float) -> None:
    """Set how probably training loses an operation, in place: `drop_path` times the share of the cells that lie before
    and the share of training that is over, `progress` in [0, 1] (section 3: ScheduledDropPath).
    """
    if not 0 <= progress <= 1:
        raise InputError(f"progress must lie in [0, 1] but is {progress!r}")
    for number, cell in enumerate(network.cells, start=1):
        for module in cell.modules():
            if isinstance(module, DropPath):
                module.p = network.config.drop_path * number / len(network.cells) * progress


def draw_weights(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852), in place: normal by fan out, which for one map by itself is fan in.

    The head's are small, so that training starts from even odds; its biases are zero.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out" if module.groups == 1 else "fan_in")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=HEAD_STD)
            nn.init.zeros_(module.bias)


_TITLE = "Learning Transferable Architectures for Scalable Image Recognition"
_PAPER = "arXiv:1707.07012"

ENTRIES = (
    Entry(
        name="nasnet_a_mobile", family="nasnet", year=2017, title=_TITLE, paper=_PAPER, build=NasNet,
        config=NasNetConfig(), input_size=(3, 224, 224), num_params=5_289_978, macs=563_638_816, stem="conv", head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.26, top5_error=0.084, source="arXiv:1707.07012, Table 3"),
    ),
    Entry(
        name="nasnet_a_large", family="nasnet", year=2017, title=_TITLE, paper=_PAPER, build=NasNet,
        config=NasNetConfig(num_cells=6, width=168, stem_width=96, skips_reduction_input=True),
        input_size=(3, 331, 331), num_params=88_753_150, macs=23_783_414_658, stem="conv", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.173, top5_error=0.038, source="arXiv:1707.07012, Table 2"),
    ),
    Entry(
        name="nasnet_a_cifar", family="nasnet", year=2017, title=_TITLE, paper=_PAPER, build=NasNet,
        config=NasNetConfig(
            num_classes=10, num_cells=6, width=32, stem_width=96, num_stem_cells=0, dropout=0.0, norm_tiny=1e-5
        ),
        input_size=(3, 32, 32), num_params=3_328_234, macs=525_786_624, stem="conv", head="fc", min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0341, source="arXiv:1707.07012, Table 1, 6 @ 768, without cutout"),
    ),
)  # fmt: skip
