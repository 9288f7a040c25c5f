"""The check of gradients: right ones pass, wrong ones are named."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.gradient_check import check_gradients, relative_error
from striate.networks.catalogue import build_network
from striate.networks.families.resnet import CifarResNetConfig, cifar_resnet


class WrongSquare(torch.autograd.Function):
    """x ** 2 whose backward forgets the factor 2."""

    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    def backward(ctx, gradient):
        (inputs,) = ctx.saved_tensors
        return gradient * inputs


class Wrong(nn.Module):
    """A right layer, then one whose gradient is wrong by its second parameter only."""

    def __init__(self):
        super().__init__()
        self.right = nn.Linear(3, 4)
        self.wrong = nn.Parameter(torch.ones(4))

    def forward(self, inputs):
        return self.right(inputs) * WrongSquare.apply(self.wrong)


def test_relative_error_on_paper():
    assert relative_error(2.0, 1.0) == 0.5
    assert relative_error(1.0, -1.0) == 2
    assert relative_error(0.0, 1e-9) == 1
    assert relative_error(0.0, 0.0) == 0
    assert relative_error(0.0, 1e-9, noise=1e-8) == 0


def test_a_wrong_backward_is_found_and_named():
    checked = check_gradients(Wrong(), torch.randn(2, 3))
    assert [tensor.name for tensor in checked.tensors] == ["wrong", "right.weight", "right.bias", "input 0"]
    assert checked.worst.name == "wrong"
    assert checked.worst.relative_error == pytest.approx(0.5)
    assert checked.worst.numerical == pytest.approx(2 * checked.worst.analytic)
    right = {tensor.name: tensor.relative_error for tensor in checked.tensors if tensor.name != "wrong"}
    assert max(right.values()) < 1e-7


def test_torchs_own_check_agrees():
    inputs = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(torch.tanh, inputs)
    assert check_gradients(torch.tanh, inputs).worst.relative_error < 1e-7
    assert not torch.autograd.gradcheck(WrongSquare.apply, inputs, raise_exception=False)
    assert check_gradients(WrongSquare.apply, inputs).worst.relative_error > 1e-2


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["lenet5", "resnet"])
def test_whole_networks_are_right(name, training):
    """Max pooling, shortcuts, and batch norm in both modes.

    Fresh biases are 0, so where a patch is dark a ReLU stands on its kink, which has no gradient: they are drawn here.
    """
    small_resnet = CifarResNetConfig(in_channels=1, depths=(1, 1), widths=(3, 5))
    network = build_network("lenet5") if name == "lenet5" else cifar_resnet(small_resnet)
    for param in network.parameters():
        if param.dim() == 1:
            nn.init.normal_(param)
    network.train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = torch.randn(2, 1, 32, 32) if name == "lenet5" else torch.randn(2, 1, 12, 12)
    checked = check_gradients(network, images, max_entries=3)
    assert checked.worst.relative_error < 1e-4
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert network.training is training
    assert not any(param.grad is not None for param in network.parameters())


def test_dropout_draws_the_same_numbers_each_time_and_generators_stay():
    before = torch.get_rng_state()
    assert check_gradients(nn.Dropout(0.5), torch.randn(4, 4, generator=torch.Generator())).worst.relative_error < 1e-7
    assert torch.equal(torch.get_rng_state(), before)


def test_a_kink_is_left_behind_by_a_smaller_step_and_a_wrong_gradient_is_not():
    near_the_kink = torch.tensor([3e-6])
    assert check_gradients(torch.relu, near_the_kink).worst.relative_error < 1e-7
    on_the_kink = check_gradients(torch.relu, torch.zeros(1)).worst
    assert (on_the_kink.analytic, on_the_kink.relative_error) == (0, 1)


def test_labels_are_left_alone_and_unused_parameters_have_gradient_zero():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.ones(2))

        def forward(self, logits, labels):
            return nn.functional.cross_entropy(logits, labels)

    checked = check_gradients(Unused(), torch.randn(3, 4), torch.tensor([0, 3, 1]), max_entries=12)
    assert [(tensor.name, tensor.num_checked) for tensor in checked.tensors] == [("unused", 2), ("input 0", 12)]
    assert checked.tensors[0].analytic == checked.tensors[0].numerical == 0
    assert checked.worst.relative_error < 1e-7


def test_single_numbers_and_frozen_parameters():
    checked = check_gradients(lambda number: number**3, torch.tensor(2.0))
    assert (checked.worst.index, checked.worst.num_checked) == ((), 1)
    assert abs(checked.worst.analytic) > 0
    with pytest.raises(InputError, match="nothing here takes a gradient: no parameter that requires one"):
        check_gradients(nn.Linear(1, 1).requires_grad_(False), torch.tensor([1]))
