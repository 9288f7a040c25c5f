"""Connections left out: which, for whom, and with what mean and variance."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.drop_connect import DropConnectConv2d, DropConnectLinear


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def linear(p=0.25, **options):
    return DropConnectLinear(6, 4, p, **options)


def conv(p=0.25, **options):
    return DropConnectConv2d(4, 6, 3, p, stride=2, padding=1, groups=2, **options)


def inputs_for(layer, num_images):
    return torch.randn(num_images, 6) if isinstance(layer, DropConnectLinear) else torch.randn(num_images, 4, 5, 5)


@pytest.mark.parametrize("make", [linear, conv])
@pytest.mark.parametrize("is_per_image", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_evaluation_is_the_plain_layer(make, is_per_image, bias):
    layer = make(is_per_image=is_per_image, bias=bias).eval()
    plain = nn.Linear(6, 4, bias) if make is linear else nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=bias)
    plain.load_state_dict(layer.state_dict())
    inputs = inputs_for(layer, 3)
    assert torch.equal(layer(inputs), plain(inputs))
    undropped = make(0.0, is_per_image=is_per_image, bias=bias).train()
    undropped.load_state_dict(layer.state_dict())
    assert torch.equal(undropped(inputs), plain(inputs))


def test_weights_are_dropped_and_the_others_scaled_on_paper():
    """One input of 1, weights of 1: each output is one connection, lost or 4 / 3."""
    layer = DropConnectLinear(1, 20_000, 0.25, bias=False)
    nn.init.ones_(layer.weight)
    outputs = layer(torch.ones(1, 1))
    assert outputs.unique().tolist() == pytest.approx([0, 4 / 3])
    assert outputs.mean().item() == pytest.approx(1, abs=0.017)  # four standard errors


@pytest.mark.parametrize("make", [linear, conv])
def test_every_image_has_connections_of_its_own_or_the_batch_has(make):
    layer = make(0.5)
    same = inputs_for(layer, 1).expand(8, *[-1] * (1 if make is linear else 3))
    assert len(layer(same).flatten(1).unique(dim=0)) > 1
    layer = make(0.5, is_per_image=False)
    outputs = layer(same)
    torch.testing.assert_close(outputs, outputs[:1].expand_as(outputs))


@pytest.mark.parametrize("make", [linear, conv])
def test_one_image_is_a_plain_layer_with_a_thinned_weight(make):
    """Where a connection was lost no gradient arrives."""
    layer = make(0.5)
    inputs = inputs_for(layer, 1).abs() + 0.1
    state = torch.get_rng_state()
    outputs = layer(inputs)
    torch.set_rng_state(state)
    weight = nn.functional.dropout(layer.weight.expand(1, *[-1] * layer.weight.ndim), 0.5)[0]
    bias = nn.functional.dropout(layer.bias.expand(1, -1), 0.5)[0]
    thinned = nn.Linear(6, 4) if make is linear else nn.Conv2d(4, 6, 3, 2, 1, groups=2)
    thinned.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    torch.testing.assert_close(outputs, thinned(inputs))
    (gradient,) = torch.autograd.grad(outputs.sum(), layer.weight)
    assert torch.equal(gradient == 0, weight == 0)


@pytest.mark.parametrize("make", [linear, conv])
def test_moments_are_those_of_many_drawings(make):
    layer = make(0.3)
    image = inputs_for(layer, 1)
    mean, variance = layer.moments(image)
    drawn = layer(image.expand(20_000, *image.shape[1:]))
    error = (variance / len(drawn)).sqrt()
    assert ((drawn.mean(0) - mean[0]).abs() < 5 * error[0] + 1e-6).all()
    torch.testing.assert_close(drawn.var(0), variance[0], rtol=0.08, atol=1e-6)


def test_inputs_of_more_axes_share_the_images_connections():
    layer = linear(0.5)
    outputs = layer(torch.ones(2, 3, 5, 6))
    assert outputs.shape == (2, 3, 5, 4)
    torch.testing.assert_close(outputs, outputs[:, :1, :1].expand_as(outputs))
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("make", [linear, conv])
def test_tools_find_the_dropout_and_can_turn_it_off(make):
    layer = make(0.5)
    found = [module for module in layer.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    assert len(found) == 1
    found[0].eval()
    inputs = inputs_for(layer, 2)
    assert torch.equal(layer(inputs), layer(inputs))
    assert set(layer.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_refusals(p):
    with pytest.raises(InputError, match=f"p must be at least 0 and below 1 but is {p}; at 1 no connection"):
        linear(p)
