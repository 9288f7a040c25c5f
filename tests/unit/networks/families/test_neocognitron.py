"""Cells of the Neocognitron place by place, as the paper's formulas have them, and what inhibition is for."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from striate.errors import InputError
from striate.networks.families.neocognitron import (
    ALPHA,
    CCells,
    Neocognitron,
    NeocognitronConfig,
    Saturation,
    SCells,
    draw_weights,
    fall_off,
)

SMALL = NeocognitronConfig(
    num_classes=3, image_size=(6, 6), planes=(4, 5), s_sizes=(3, 3), s_borders=(1, 0), selectivities=(4.0, 1.5),
    c_sizes=(3, 2), c_strides=(1, 1), c_borders=(0, 0),
)  # fmt: skip


def make_cells(selectivity: float = 4.0) -> SCells:
    torch.manual_seed(0)
    cells = SCells(2, 3, size=3, border=0, selectivity=selectivity)
    torch.nn.init.uniform_(cells.weight)
    torch.nn.init.uniform_(cells.inhibition)
    return cells


def test_s_cells_place_by_place() -> None:
    """u = r phi((1 + e) / (1 + 2r / (1 + r) b v) - 1), with sums over every connection spelt out."""
    cells = make_cells(selectivity=1.5)
    maps = torch.rand(2, 4, 5)
    a, b, c = cells.weight.detach(), cells.inhibition.detach(), fall_off(3)[0, 0] / 2
    outputs = cells(maps[None])[0]
    assert outputs.shape == (3, 2, 3)
    for k in range(3):
        for y in range(2):
            for x in range(3):
                area = maps[:, y : y + 3, x : x + 3]
                excitation = (a[k] * area).sum()
                v = (c * area**2).sum().sqrt()
                u = 1.5 * max((1 + excitation) / (1 + 2 * 1.5 / 2.5 * b[k] * v) - 1, torch.tensor(0.0))
                torch.testing.assert_close(outputs[k, y, x], u, rtol=1e-4, atol=1e-5)


def test_an_s_cell_that_has_learnt_a_pattern_asks_how_alike_not_how_bright() -> None:
    """With a = q c p and b = q / 2 v(p) for a large q, the cell fires where the cosine of pattern and picture is above
    r / (1 + r), however bright the picture is."""
    torch.manual_seed(0)
    pattern = torch.rand(1, 3, 3)
    cells = SCells(1, 1, size=3, border=0, selectivity=4.0)
    closeness = cells.get_buffer("closeness")
    with torch.no_grad():
        cells.weight.copy_(1e4 * closeness * pattern)
        cells.inhibition.copy_(1e4 / 2 * (closeness * pattern**2).sum().sqrt())
    for picture in (pattern, 0.1 * pattern):
        assert cells(picture[None]).item() == pytest.approx(1, abs=0.01)  # r ((1 + r) / r - 1)
    unlike = torch.zeros(1, 3, 3)
    unlike[0, 0, 2] = 1.0
    cosine = (closeness[0] * pattern * unlike).sum() / (
        (closeness[0] * pattern**2).sum() * (closeness[0] * unlike**2).sum()
    ).sqrt()
    assert cosine < 4 / 5
    assert cells(unlike[None]).item() == 0


def test_synapses_keep_their_nature() -> None:
    """The sign of a parameter changes nothing: excitation stays excitation."""
    cells = make_cells()
    maps = torch.rand(1, 2, 5, 5)
    expected = cells(maps)
    with torch.no_grad():
        cells.weight.neg_()
        cells.inhibition.neg_()
    assert torch.equal(cells(maps), expected)


def test_nothing_to_see_gives_nothing_and_finite_slopes() -> None:
    cells = make_cells()
    maps = torch.zeros(1, 2, 5, 5, requires_grad=True)
    outputs = cells(maps)
    assert not outputs.any()
    outputs.sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_c_cells_place_by_place() -> None:
    cells = CCells(size=2, stride=1, border=0)
    maps = 5 * torch.rand(3, 3, 4)
    d = fall_off(2)[0, 0]
    outputs = cells(maps[None])[0]
    assert outputs.shape == (3, 2, 3)
    for y in range(2):
        for x in range(3):
            seen = (d * maps[:, y : y + 2, x : x + 2]).sum(dim=(1, 2))
            activity = ((1 + seen) / (1 + seen.mean()) - 1).clamp(min=0)
            torch.testing.assert_close(outputs[:, y, x], activity / (ALPHA + activity))


def test_saturation_on_paper() -> None:
    values = Saturation()(torch.tensor([-0.9, -0.1, 0.0, 0.5, 1.5]))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.0, 0.0, 0.5, 0.75]))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_closeness_falls_from_the_middle_and_sums_to_one(size: int) -> None:
    weights = fall_off(size)[0, 0]
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    middle = weights[size // 2, size // 2 :]
    assert (middle.diff() < 0).all()
    assert torch.equal(weights, weights.T)
    torch.testing.assert_close(weights, weights.flip(0))


def test_whole_network_written_out() -> None:
    network = Neocognitron(SMALL).eval()
    images = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    maps = images.clamp(min=0)
    for number, r in enumerate(SMALL.selectivities):
        s_cells, size = network.stages[2 * number], SMALL.c_sizes[number]
        maps = functional.pad(maps, [SMALL.s_borders[number]] * 4)
        c = fall_off(3).expand(1, maps.shape[1], 3, 3) / maps.shape[1]
        v = functional.conv2d(maps**2, c).sqrt()
        h = 2 * r / (1 + r) * s_cells.inhibition[:, None, None] * v
        maps = r * ((1 + functional.conv2d(maps, s_cells.weight)) / (1 + h) - 1).clamp(min=0)
        d = fall_off(size)[0, 0]
        seen = (maps.unfold(2, size, 1).unfold(3, size, 1) * d).sum(dim=(4, 5))
        activity = ((1 + seen) / (1 + seen.mean(dim=1, keepdim=True)) - 1).clamp(min=0)
        maps = activity / (ALPHA + activity)
    assert maps.shape == (2, 5, 1, 1)
    logits = maps.flatten(1) @ network.head.weight.T
    torch.testing.assert_close(network(images), logits, rtol=1e-3, atol=1e-4)


def test_first_weights_excite_more_than_they_inhibit() -> None:
    """A quarter of learnt inhibition, so that cells fire in every stage before any training."""
    torch.manual_seed(0)
    network = Neocognitron(NeocognitronConfig()).eval()
    draw_weights(network)
    maps = torch.rand(4, 1, 16, 16)
    for cells in network.stages:
        maps = cells(maps)
        assert (maps > 0).float().mean() > 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planes": (4,)}, "every setting of the stages must have 1 values, one for each of planes"),
        ({"planes": ()}, "every setting of the stages must have 0 values"),
        ({"planes": (4, 0)}, "planes, sizes and strides must be at least 1, and selectivities above 0"),
        ({"selectivities": (4.0, 0.0)}, "selectivities above 0"),
        ({"image_size": (7, 6)}, r"must end in one place but \(7, 6\) pixels end in \(2, 1\); change sizes or borders"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **changes)
