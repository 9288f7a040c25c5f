"""Quick dropout is dropout: so many numbers dropped, the mean kept, gradients through the same mask, by torch's stream
alone.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.training.speed.cpu_dropout import QuickDropout, quick_dropout

SHAPE = (7, 5, 31, 13)


def dropped(values, p=0.5, seed=0, **more):
    torch.manual_seed(seed)
    return quick_dropout(values, p, **more)


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9, 1 / 3])
def test_so_many_are_dropped_and_the_mean_is_kept(p):
    found = dropped(torch.ones(1000, 1000), p)
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)
    kept = found[found != 0]
    assert (kept == kept[0]).all()
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=1e-3)
    assert found.mean().item() == pytest.approx(1, abs=0.02)


def test_neighbours_are_dropped_independently():
    kept = (dropped(torch.ones(4_000_000), 0.5) > 0).float() - 0.5
    for lag in (1, 2, 3, 4, 64):
        assert abs(4 * (kept[lag:] * kept[:-lag]).mean().item()) < 5 / 2000


def test_a_mask_is_a_function_of_the_stream():
    values = torch.randn(SHAPE)
    assert torch.equal(dropped(values), dropped(values))
    assert not torch.equal(dropped(values), dropped(values, seed=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_gradients_layout_and_type(dtype, memory_format):
    values = torch.randn(SHAPE, dtype=dtype).contiguous(memory_format=memory_format).requires_grad_()
    found = dropped(values, 0.25)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=memory_format)
    found.sum().backward()
    mask = values.grad
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(4 / 3, dtype=dtype).item()}
    assert torch.equal(found, values * mask)
    whole = values.detach().clone()
    torch.manual_seed(0)
    assert quick_dropout(whole, 0.25, inplace=True) is whole
    assert torch.equal(whole, found)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.4, False), (1e-9, True)])
def test_nothing_or_everything_is_torchs_own(p, training):
    values = torch.randn(SHAPE)
    assert torch.equal(quick_dropout(values, p, training), F.dropout(values, p, training))


def test_a_probability_that_is_none_is_refused_by_torch():
    with pytest.raises(ValueError, match="between 0 and 1"):
        quick_dropout(torch.ones(3), 1.5)


def test_modules_take_part_while_it_is_active():
    values, module = torch.randn(SHAPE), nn.Dropout(0.3)
    torch.manual_seed(3)
    with QuickDropout():
        found = module(values)
        other = F.relu(values)
    assert torch.equal(found, dropped(values, 0.3, seed=3))
    assert torch.equal(other, values.relu())
