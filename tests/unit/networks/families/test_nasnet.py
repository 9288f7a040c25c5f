"""NASNet-A: operations at borders, cells, wiring and the checks of the configuration."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.inspection.counting import count_params
from striate.layers.drop_path import DropPath
from striate.networks.families.nasnet import (
    NORMAL,
    REDUCTION,
    Cell,
    Fit,
    FitHalving,
    Maps,
    NasNet,
    NasNetConfig,
    Pool,
    Separable,
    average,
    make_cell,
    maximum,
    pad_for_halving,
    plan_cells,
    schedule_drop_path,
)

TINY = NasNetConfig(num_classes=3, num_cells=1, width=8, stem_width=4, drop_path=0.4)

NO_EPS = 1e-30
"""Lost beside a variance of 1; PyTorch 2.11 wants more than 0."""


def test_averages_look_at_no_border() -> None:
    """A row 0..3: of even sizes the last window hangs over; of odd ones both ends do."""
    row = torch.arange(4.0).reshape(1, 1, 1, 4)
    assert Pool(average, 2)(row).flatten().tolist() == [1, 2.5]
    assert Pool(average, 2)(row[..., :3]).flatten().tolist() == [0.5, 1.5]
    assert Pool(average, 1)(row).flatten().tolist() == [0.5, 1, 2, 2.5]
    assert Pool(maximum, 2)(-row).flatten().tolist() == [0, -2]


@pytest.mark.parametrize(("size", "kernel_size", "before"), [(5, 5, 2), (6, 5, 1), (6, 7, 2), (7, 3, 1), (1, 7, 3)])
def test_even_sizes_are_padded_less_before_than_after(size: int, kernel_size: int, before: int) -> None:
    maps = torch.ones(1, 1, size, size)
    padded = pad_for_halving(maps, kernel_size)
    assert torch.equal(padded[0, 0, before : before + size, before : before + size], maps[0, 0])
    assert (padded.shape[-1] - kernel_size) // 2 + 1 == (size + 1) // 2


def test_halving_takes_every_second_pixel_and_those_between() -> None:
    fit = FitHalving(1, 2, NO_EPS).eval()
    for conv in (fit.conv1, fit.conv2):
        nn.init.ones_(conv.weight)
    row = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    assert fit(row)[0, 0].flatten().tolist() == [1, 3, 5]
    assert fit(row.mT)[0, 0].flatten().tolist() == [1, 3, 5]
    square = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert fit(square)[0].tolist() == [[[0, 2], [8, 10]], [[5, 7], [13, 15]]]


def separable(channels: int, width: int, size: int) -> int:
    """Weights by hand: two depthwise, two pointwise convolutions, two batch norms."""
    return size**2 * (channels + width) + width * (channels + width) + 4 * width


def test_cells_by_hand() -> None:
    """Five separable convolutions a cell, of the sizes in figure 4, and the two convolutions that fit its inputs."""
    width = 6
    fits = (10 + 2) * width + (20 + 2) * width
    normal = make_cell(NORMAL, Maps(10, 0), Maps(20, 0), width, 0.0, 1e-3)
    assert count_params(normal) == fits + sum(separable(width, width, size) for size in (5, 3, 5, 3, 3))
    reduction = make_cell(REDUCTION, Maps(10, 1), Maps(20, 0), width, 0.0, 1e-3)
    assert count_params(reduction) == fits + sum(separable(width, width, size) for size in (5, 7, 7, 5, 3))
    assert isinstance(reduction.fit_previous, FitHalving)
    first = Maps(10, 0)
    stem = make_cell(REDUCTION, first, first, width, 0.0, 1e-3)
    wide, narrow = (separable(10, width, size) for size in (7, 5)), (separable(width, width, size) for size in (5, 3))
    assert count_params(stem) == (10 + 2) * width + 2 * next(wide) + next(wide) + sum(narrow)


def test_mobile_form_by_hand() -> None:
    """Maps that enter each cell, written down from the figures: a normal cell gives six times its width, else four."""

    def count(sizes: tuple[int, ...], current: int, previous: int, width: int) -> int:
        fits = (current + 2 + previous + 2) * width
        return fits + sum(separable(width, width, size) for size in sizes)

    normal, reduction = (5, 3, 5, 3, 3), (5, 7, 7, 5, 3)
    total = 27 * 32 + 2 * 32 + 1057 * 1000
    total += (32 + 2) * 11 + sum(separable(32, 11, size) for size in (7, 7, 5))
    total += sum(separable(11, 11, size) for size in (5, 3))
    total += count(reduction, 44, 32, 22)
    for width, first, second in (
        (44, (88, 44), (264, 88)),
        (88, (352, 264), (528, 352)),
        (176, (704, 528), (1056, 704)),
    ):
        if width > 44:
            total += count(reduction, 3 * width, 3 * width, width)
        total += count(normal, *first, width) + count(normal, *second, width)
        total += 2 * count(normal, 6 * width, 6 * width, width)
    assert total == count_params(NasNet(NasNetConfig())) == 5_289_978


def test_cell_sums_what_figure_4_says() -> None:
    """With separable convolutions silenced what is left are pools and shortcuts."""
    fits = (nn.Identity(), nn.Identity())
    cell = Cell(NORMAL, fits, (1, 1), 1, 0.0, NO_EPS).eval()
    silence(cell)
    current, previous = torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 2, 2), 3.0)
    assert cell(current, previous)[0, :, 0, 0].tolist() == [3, 0, 0, 2 + 3, 3 + 3, 0 + 2]
    cell = Cell(REDUCTION, fits, (1, 1), 1, 0.0, NO_EPS).eval()
    silence(cell)
    assert cell(current, previous).shape == (1, 4, 1, 1)
    assert cell(current, previous).flatten().tolist() == [2, 2, 2 + 0, 0 + 2]


def silence(cell: Cell) -> None:
    for module in cell.modules():
        if isinstance(module, Separable):
            nn.init.zeros_(module.bn2.weight)


def test_plan_of_the_large_form() -> None:
    plan = plan_cells(NasNetConfig(num_cells=6, width=168, skips_reduction_input=True))
    assert len(plan) == 22
    assert [(number, width) for number, (genotype, width, _) in enumerate(plan) if genotype is REDUCTION] == [
        (0, 42), (1, 84), (8, 336), (15, 672)
    ]  # fmt: skip
    assert [number for number, (_, _, keeps_previous) in enumerate(plan) if keeps_previous] == [8, 15]


def test_first_cell_of_the_small_form_fits_both_inputs() -> None:
    network = NasNet(NasNetConfig(num_cells=1, width=4, stem_width=12, num_stem_cells=0))
    assert all(isinstance(fit, Fit) for fit in (network.cells[0].fit_current, network.cells[0].fit_previous))
    assert network.conv.stride == (1, 1)


def test_drop_path_rises_with_depth_and_time() -> None:
    network = NasNet(TINY)
    rates = [[module.p for module in cell.modules() if isinstance(module, DropPath)] for cell in network.cells]
    assert [len(each) for each in rates] == [9, 9, 8, 9, 8, 9, 8]
    assert [each[0] for each in rates] == pytest.approx([0.4 * number / 7 for number in range(1, 8)])
    schedule_drop_path(network, 0.5)
    assert [m.p for m in network.cells[-1].modules() if isinstance(m, DropPath)] == pytest.approx([0.2] * 8)
    schedule_drop_path(network, 0.0)
    assert not any(module.p for module in network.modules() if isinstance(module, DropPath))
    with pytest.raises(InputError, match=r"progress must lie in \[0, 1\] but is 1.5"):
        schedule_drop_path(network, 1.5)


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="width must be a multiple of 4, to be halved in the stem, but is 6"):
        NasNetConfig(width=6)
    with pytest.raises(InputError, match="width must be a multiple of 2"):
        NasNetConfig(width=3, num_stem_cells=0)
    with pytest.raises(InputError, match="they are 0, 32 and 2"):
        NasNetConfig(num_cells=0)
    with pytest.raises(InputError, match="drop_path must be a probability below 1 but is 1"):
        NasNetConfig(drop_path=1)
