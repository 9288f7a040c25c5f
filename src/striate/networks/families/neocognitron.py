"""The Neocognitron (Fukushima 1980, doi:10.1007/BF00344251), made to learn from labels.

N images, C channels, K classes, P cell-planes (maps) of a stage, F size of a connecting area, n a place, v an offset.

Each stage has S-cells, which look for features with weights shared by a whole plane and are held down in proportion to
how much there is to see at all (shunting inhibition), and C-cells, which allow the feature to lie anywhere near.
`neocognitron` has the sizes of the paper's simulation: three stages of 24 planes on 16x16 photoreceptors.
`neocognitron_digits` has four stages, as Fukushima's later networks for digits do, laid out for 28x28 pixels; its sizes
are striate's.

Departures: everything is trained together, by gradients through all stages, instead of stage by stage without a
teacher; a linear layer reads the last C-cells, where the paper looks for the one that fires. Excitatory and inhibitory
weights are the absolute values of their parameters, so that no synapse changes its nature. First weights are random,
inhibition a quarter of what the paper's learning would arrive at, so that cells fire at first; the paper starts from
faint oriented ones and none. The paper prints sizes of layers, from which borders follow: zeros around, or places left
out in the first C-layer. It asks c and d to fall with distance and does not say how: here as Gaussians that sum to 1.
Photoreceptors cannot be negative, so what is darker than the average of normalised images counts as dark.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry

SIZE_1980 = (16, 16)
SIZE_DIGITS = (28, 28)
ALPHA = 0.5
"""Where C-cells reach half of their most."""
REINFORCEMENT = 64.0
INHIBITION_SHARE = 0.25
HEAD_STD = 0.1
TINY = 1e-6
"""Added under the square root of V-cells, whose slope has no bound at zero."""


@dataclass(frozen=True)
class NeocognitronConfig:
    """Everything of a stage by position: planes, size and border of the S-cells' areas, their selectivity r, then size,
    stride and border of the C-cells'. A border of zeros is positive, places left out are negative. `image_size` is
    (height, width) in pixels; the last stage must end in one place.
    """

    in_channels: int = 1
    num_classes: int = 10
    image_size: tuple[int, int] = SIZE_1980
    planes: tuple[int, ...] = (24, 24, 24)
    s_sizes: tuple[int, ...] = (5, 5, 5)
    s_borders: tuple[int, ...] = (2, 1, 0)
    selectivities: tuple[float, ...] = (4.0, 1.5, 1.5)
    c_sizes: tuple[int, ...] = (5, 5, 2)
    c_strides: tuple[int, ...] = (1, 1, 1)
    c_borders: tuple[int, ...] = (-1, 1, 0)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        stages = (self.s_sizes, self.s_borders, self.selectivities, self.c_sizes, self.c_strides, self.c_borders)
        if not self.planes or any(len(values) != len(self.planes) for values in stages):
            raise InputError(f"every setting of the stages must have {len(self.planes)} values, one for each of planes")
        if min(*self.planes, *self.s_sizes, *self.c_sizes, *self.c_strides) < 1 or min(self.selectivities) <= 0:
            raise InputError("planes, sizes and strides must be at least 1, and selectivities above 0")
        if (left := self.last_size()) != (1, 1):
            raise InputError(
                f"the last stage must end in one place but {self.image_size} pixels end in {left}; "
                "change sizes or borders"
            )

    def last_size(self) -> tuple[int, int]:
        """Height and width of the last C-planes; below 1 where an area is larger than what it lies on."""
        height, width = self.image_size
        for s_size, s_border, c_size, c_stride, c_border in zip(
            self.s_sizes, self.s_borders, self.c_sizes, self.c_strides, self.c_borders, strict=True
        ):
            lost = s_size - 2 * s_border - 1 + c_size - 2 * c_border
            height, width = (height - lost) // c_stride + 1, (width - lost) // c_stride + 1
        return height, width


class SCells(nn.Module):
    """Feature-seeking cells: C-cells' outputs (N, C, H, W) -> (N, P, H + 2B - F + 1, ...), none negative.

    u = r phi((1 + e) / (1 + 2r / (1 + r) b v) - 1), where phi is ReLU, e the sum of what the cell sees weighted by a,
    and v = sqrt(sum of c u^2), the V-cell's root mean square of the same area. As one fraction, which rounds better:
    u = r phi((e - h) / (1 + h)) with h = 2r / (1 + r) b v.
    """

    def __init__(self, in_planes: int, planes: int, size: int, border: int, selectivity: float) -> None:
        super().__init__()
        self.border = border
        self.selectivity = selectivity
        self.weight = nn.Parameter(torch.empty(planes, in_planes, size, size))  # a
        self.inhibition = nn.Parameter(torch.empty(planes))  # b
        self.register_buffer("closeness", fall_off(size) / in_planes, persistent=False)  # c, the same for each plane
        self.phi = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, P, H', W')."""
        maps = F.pad(maps, (self.border,) * 4)
        excitation = F.conv2d(maps, self.weight.abs())
        energy = maps.square().sum(dim=1, keepdim=True)
        v_cells = (F.conv2d(energy, self.get_buffer("closeness")) + TINY).sqrt()  # (N, 1, H', W')
        factor = 2 * self.selectivity / (1 + self.selectivity)
        inhibition = factor * self.inhibition.abs()[:, None, None] * v_cells
        return self.selectivity * self.phi((excitation - inhibition) / (1 + inhibition))


class Saturation(nn.Module):
    """psi(x) = x / (alpha + x) for x above 0, else 0: any shape, outputs in [0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.ReLU()

    def forward(self, activity: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        positive = self.phi(activity)
        return positive / (ALPHA + positive)


class CCells(nn.Module):
    """Cells that allow shifts: S-cells' outputs (N, P, H, W) -> (N, P, H', W') in [0, 1).

    u = psi((1 + s) / (1 + v) - 1), where s is the sum of what the cell sees in its own plane weighted by d, and v the
    V-cell's mean of s over all planes, so that planes hold each other down. As one fraction: psi((s - v) / (1 + v)).
    """

    def __init__(self, size: int, stride: int, border: int) -> None:
        super().__init__()
        self.stride = stride
        self.border = border
        self.register_buffer("closeness", fall_off(size), persistent=False)  # d, the same for each plane
        self.psi = Saturation()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, P, H, W) -> (N, P, H', W')."""
        maps = F.pad(maps, (self.border,) * 4)
        planes = maps.shape[1]
        filters = self.get_buffer("closeness").expand(planes, -1, -1, -1)
        seen = F.conv2d(maps, filters, stride=self.stride, groups=planes)
        v_cells = seen.mean(dim=1, keepdim=True)
        return self.psi((seen - v_cells) / (1 + v_cells))


class Neocognitron(nn.Module):
    """Stages of S- and C-cells down to one place, and a linear layer: images (N, C, height, width) -> logits (N, K)."""

    def __init__(self, config: NeocognitronConfig) -> None:
        super().__init__()
        self.config = config
        self.photoreceptors = nn.ReLU()
        cells: list[nn.Module] = []
        in_planes = config.in_channels
        for number, planes in enumerate(config.planes):
            cells += [
                SCells(
                    in_planes, planes, config.s_sizes[number], config.s_borders[number], config.selectivities[number]
                ),
                CCells(config.c_sizes[number], config.c_strides[number], config.c_borders[number]),
            ]
            in_planes = planes
        self.stages = nn.Sequential(*cells)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(in_planes, config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, height, width) -> logits (N, K); InputError for any other size."""
        check_images(
            images, self.config.in_channels, self.config.image_size, is_fixed_size=True, network="this Neocognitron"
        )
        return self.head(self.flatten(self.stages(self.photoreceptors(images))))


def fall_off(size: int) -> Tensor:
    """Weights (1, 1, size, size) that sum to 1: a Gaussian around the middle, of deviation size / 4."""
    offsets = torch.arange(size) - (size - 1) / 2
    row = torch.exp(-0.5 * (offsets / (size / 4)).square())
    weights = row[:, None] * row
    return (weights / weights.sum())[None, None]


def draw_weights(network: Neocognitron) -> None:
    """Draw random patterns p, mostly faint, and set the cells as if they had learnt them, q being 64:
    a = q c p, b = q / 2 times the V-cell's answer to p; but only a quarter of b. Normal weights for the head. In place.
    """
    for module in network.modules():
        if isinstance(module, SCells):
            closeness = module.get_buffer("closeness")
            with torch.no_grad():
                pattern = torch.rand_like(module.weight) ** 3
                v_cells = (closeness * pattern.square()).sum(dim=(1, 2, 3)).sqrt()
                module.weight.copy_(REINFORCEMENT * closeness * pattern)
                module.inhibition.copy_(INHIBITION_SHARE * REINFORCEMENT / 2 * v_cells)
    nn.init.normal_(network.head.weight, std=HEAD_STD)
    nn.init.zeros_(network.head.bias)


_TITLE = (
    "Neocognitron: A Self-organizing Neural Network Model for a Mechanism of Pattern Recognition "
    "Unaffected by Shift in Position"
)
_PAPER = "doi:10.1007/BF00344251"
_DIGITS = NeocognitronConfig(
    image_size=SIZE_DIGITS, planes=(24, 24, 24, 24),
    s_sizes=(5, 5, 5, 5), s_borders=(2, 2, 2, 1), selectivities=(4.0, 1.5, 1.5, 1.5),
    c_sizes=(5, 5, 5, 2), c_strides=(2, 2, 2, 1), c_borders=(2, 2, 2, 0),
)  # fmt: skip

ENTRIES = (
    Entry(
        name="neocognitron", family="neocognitron", year=1980, title=_TITLE, paper=_PAPER, build=Neocognitron,
        config=NeocognitronConfig(), input_size=(1, *SIZE_1980), num_params=29_722, macs=1_222_836, stem="stages.0",
        head="head", min_size=SIZE_1980, is_fixed_size=True,
    ),
    Entry(
        name="neocognitron_digits", family="neocognitron", year=1980, title=_TITLE, paper=_PAPER, build=Neocognitron,
        config=_DIGITS, input_size=(1, *SIZE_DIGITS), num_params=44_146, macs=4_238_761, stem="stages.0", head="head",
        min_size=SIZE_DIGITS, is_fixed_size=True,
    ),
)  # fmt: skip
