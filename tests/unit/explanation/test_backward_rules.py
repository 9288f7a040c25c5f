"""Guided backpropagation and the deconvolutional network: by hand, and wherever and whatever the activations are."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explanation_cases import Clamped, Functional, InPlace, OneReused, TwoModules, by_hand
from striate import explanation
from striate.errors import InputError

CASES = [
    (TwoModules, F.relu),
    (OneReused, F.relu),
    (Functional, F.relu),
    (InPlace, F.relu),
    (Clamped, F.relu),
    (lambda: TwoModules(nn.ReLU6), F.relu6),
    (lambda: TwoModules(nn.SiLU), F.silu),
    (lambda: TwoModules(nn.GELU), F.gelu),
    (lambda: OneReused(nn.LeakyReLU), F.leaky_relu),
    (lambda: OneReused(lambda: nn.SiLU(inplace=True)), F.silu),
]


def three_layers() -> tuple[nn.Module, Tensor]:
    """y = 1 relu(-2) wide: weights and image small enough for paper."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(2, 2, 1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2, 2, bias=False),
    )
    network[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    network[2].weight.data = torch.tensor([[1.0, 1.0], [-1.0, 2.0]]).view(2, 2, 1, 1)
    network[5].weight.data = torch.tensor([[3.0, -5.0], [-1.0, 1.0]])
    return network, torch.full((1, 1, 1, 1), 2.0)


def test_three_layers_on_paper():
    # x = 2: hidden (2, -2) -> (2, 0); second (2, -2) -> (2, 0); score of class 0 is 3 * 2 - 5 * 0 = 6
    network, image = three_layers()
    # plain: the head sends (3, -5), ReLU lets (3, 0) pass, the second layer sends (3, 3), ReLU lets (3, 0) pass, the
    # first 3
    assert explanation.gradient_x_input(network, image, classes=0).item() == 6
    # guided: (3, -5) -> clamped (3, 0) -> where positive (3, 0) -> (3, 3) -> (3, 0) -> 3
    assert explanation.guided_backprop(network, image, classes=0).item() == 3
    # deconvnet: (3, 0) -> (3, 3), both pass wherever the input lay -> 3 * 1 + 3 * -1 = 0
    assert explanation.deconvnet(network, image, classes=0).item() == 0
    # class 1: the head sends (-1, 1); guided clamps to (0, 1), whose unit was off: 0; deconvnet lets the 1 pass: (-1,
    # 2) -> (0, 2) -> -2
    assert explanation.guided_backprop(network, image, classes=1).item() == 0
    assert explanation.deconvnet(network, image, classes=1).item() == -2
    assert explanation.saliency(network, image, classes=1).item() == 1


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_equals_a_reference_without_hooks(case, rule):
    build, activation = CASES[case]
    network, images = build().double(), torch.randn(3, 3, 12, 12, dtype=torch.float64)
    run = explanation.guided_backprop if rule == "guided" else explanation.deconvnet
    found = run(network, images, classes=torch.tensor([2, 2, 2]))
    wanted = by_hand(network, images, 2, activation, rule)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    plain = explanation.saliency(network, images, classes=2, channels="all")
    assert not torch.allclose(found.abs(), plain)  # the rule matters here


@pytest.mark.parametrize("case", range(len(CASES)))
def test_guided_grad_cam_is_the_product(case):
    build, activation = CASES[case]
    network, images = build(), torch.randn(2, 3, 12, 12)
    where = explanation.grad_cam(network, images, classes=1, layer="second")
    wanted = by_hand(network, images, 1, activation, "guided")
    wanted = wanted * F.interpolate(where[:, None], (12, 12), mode="bilinear")
    found = explanation.guided_grad_cam(network, images, classes=1, layer="second")
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_a_network_without_rectifiers_is_refused():
    with pytest.raises(InputError, match="no activation of ReLU's kind"):
        explanation.guided_backprop(TwoModules(nn.Tanh), torch.randn(1, 3, 12, 12), classes=0)


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs * inputs.sigmoid()

    @staticmethod
    def backward(ctx, gradients):
        (inputs,) = ctx.saved_tensors
        return gradients * inputs.sigmoid()


class Hidden(TwoModules):
    """An activation that is an autograd function of its own, which no hook sees."""

    def activate(self, maps: Tensor, call: int) -> Tensor:
        return _Swish.apply(maps) if call == 0 else F.relu(maps)


def test_an_activation_that_cannot_be_seen_is_refused_by_name():
    with pytest.raises(InputError, match="computes _Swish where Python does not see it"):
        explanation.deconvnet(Hidden(), torch.randn(1, 3, 12, 12), classes=0)
