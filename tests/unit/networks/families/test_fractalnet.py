"""FractalNets: order of convolutions and joins, drop-path, and the checks of the configuration."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.inspection.counting import count_params
from striate.networks.families.fractalnet import (
    NO_COLUMN,
    ColumnChoice,
    FractalBlock,
    FractalNet,
    FractalNetConfig,
    Join,
    first_column,
)

SMALL = FractalNetConfig(in_channels=2, num_classes=3, widths=(4, 6), dropouts=(0.0, 0.0))


def test_columns_end_together_as_in_figure_1() -> None:
    """Four columns of 1, 2, 4 and 8 convolutions: all join at last, three half way, two at each quarter."""
    assert [first_column(step, 4) for step in range(1, 9)] == [3, 2, 3, 1, 3, 2, 3, 0]
    assert [first_column(1, 1)] == [0]


def fractal(block: FractalBlock, maps: Tensor, num_columns: int, taken: list[int]) -> list[Tensor]:
    """Equations 1 and 2 as they stand: what each column gives, before the mean; `taken` counts convolutions used."""
    column = len(block.columns) - num_columns
    if num_columns == 1:
        deep = []
    else:
        inner = fractal(block, maps, num_columns - 1, taken)
        deep = fractal(block, torch.stack(inner).mean(0), num_columns - 1, taken)
    layer = block.columns[column][taken[column]]
    taken[column] += 1
    return [F.relu(layer.bn(F.conv2d(maps, layer.conv.weight, padding=1))), *deep]


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4])
def test_block_is_the_recursion_of_the_paper(num_columns: int) -> None:
    block = FractalBlock(2, 4, num_columns, 0.0, 0.15).eval()
    maps = torch.randn(2, 2, 6, 6)
    taken = [0] * num_columns
    columns = fractal(block, maps, num_columns, taken)
    assert taken == [2**column for column in range(num_columns)]
    expected = torch.stack([F.max_pool2d(column, 2) for column in columns]).mean(0)
    torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize(
    ("num_columns", "depth", "num_params"),
    [(1, 5, 0.3e6), (2, 10, 0.8e6), (3, 20, 2.1e6), (4, 40, 4.8e6), (5, 80, 10.2e6), (6, 160, 21.1e6)],
)
def test_ultra_deep_networks_have_the_parameters_printed(num_columns: int, depth: int, num_params: float) -> None:
    """arXiv:1605.07648, the table of ultra-deep networks for CIFAR-100: columns, depth, parameters in millions."""
    widths = (16, 32, 64, 128, 128)
    config = FractalNetConfig(num_classes=100, widths=widths, num_columns=num_columns, dropouts=(0.0,) * 5)
    with torch.device("meta"):
        network = FractalNet(config)
    assert sum(len(block.columns[-1]) for block in network.blocks) == depth
    assert round(count_params(network), -5) == num_params


def test_joins_are_means_over_what_is_kept() -> None:
    torch.manual_seed(0)
    join, paths = Join(0, 0.5).train(), [torch.full((4000, 1, 1, 1), value) for value in (3.0, 6.0, 12.0)]
    means = join(paths).flatten()
    counts = {value: (means == value).float().mean().item() for value in means.unique().tolist()}
    assert sorted(counts) == [3, 4.5, 6, 7, 7.5, 9, 12]
    # alone: 1/8 each, and a third of the 1/8 that would lose all
    assert counts[3] == pytest.approx(1 / 8 + 1 / 24, abs=0.025)
    assert counts[7] == pytest.approx(1 / 8, abs=0.025)
    assert torch.equal(join.eval()(paths), torch.full((4000, 1, 1, 1), 7.0))


def test_at_least_one_path_is_always_kept() -> None:
    torch.manual_seed(0)
    shares = Join(0, 1.0).train().draw_shares(3, None, torch.empty(200, 1))
    assert torch.equal(shares.sum(dim=0), torch.ones(200))
    assert (shares == 1).any(dim=1).all()


def test_an_image_with_a_column_of_its_own_keeps_it_wherever_it_passes() -> None:
    join = Join(1, 0.0).train()
    paths = [torch.full((4, 1, 1, 1), value) for value in (1.0, 3.0)]
    columns = torch.tensor([NO_COLUMN, 0, 1, 2])
    assert join(paths, columns).flatten().tolist() == [2, 2, 1, 3]


def test_global_drop_path_is_one_column_of_the_whole_network() -> None:
    """With batch norms at their running averages an image alone must not see the other columns."""
    torch.manual_seed(0)
    network = FractalNet(SMALL).eval()
    for module in (network.choice, *(m for m in network.modules() if isinstance(m, Join))):
        module.train()
    network.choice.p = 1.0
    images = torch.randn(8, 2, 4, 4)
    torch.manual_seed(1)
    logits = network(images)
    torch.manual_seed(1)
    chosen = network.choice(images)
    assert len(set(chosen.tolist())) == 3
    for column in range(3):
        maps = images[chosen == column]
        for block in network.blocks:
            maps = F.max_pool2d(nn.Sequential(*block.columns[column])(maps), 2)
        torch.testing.assert_close(logits[chosen == column], network.fc(maps.flatten(1)))


def test_choice_draws_columns_for_about_half_of_the_images() -> None:
    torch.manual_seed(0)
    choice = ColumnChoice(3, 0.5)
    columns = choice(torch.empty(4000, 1))
    shares = [(columns == number).float().mean().item() for number in (NO_COLUMN, 0, 1, 2)]
    assert shares == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6], abs=0.035)
    assert choice.eval()(torch.empty(3, 1)) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widths": (), "dropouts": ()}, r"there must be widths.*they are \(\) and 3"),
        ({"num_columns": 0}, r"all of them and num_columns at least 1.*and 0"),
        ({"dropouts": (0.1,)}, r"dropouts \(0.1,\) and widths .* must pair up"),
        ({"local_drop_path": 1.5}, r"must be probabilities, dropouts below 1, but are .*1.5, 0.5\)"),
        ({"dropouts": (0.0, 0.1, 0.2, 0.3, 1.0)}, "must be probabilities, dropouts below 1"),
    ],
)
def test_impossible_configurations_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FractalNetConfig(**config)  # type: ignore[arg-type]
