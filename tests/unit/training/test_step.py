import math

import pytest
import torch
from torch import nn

from striate.errors import NonFiniteLoss
from striate.tasks.classification.loss import ClassificationLoss
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig
from striate.training.speed.cpu_dropout import QuickDropout
from striate.training.step import Batch, _quick_dropout, compiled, train_step
from training_cases import TinyNet, cpu_fabric


def batch(num_images=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(num_images, 1, 8, 8, generator=generator), torch.randint(3, (num_images,), generator=generator)
    )


def step(network, batches, name="sgd", loss_fn=None, seed=0, **arguments):
    fabric = cpu_fabric()
    optimizer = build_optimizer(OptimizerConfig(name, learning_rate=0.1), layer_groups(network))
    model = fabric.setup_module(network)
    return train_step(model, batches, loss_fn or ClassificationLoss(), optimizer, fabric, seed=seed, **arguments)


def snapshot(network):
    return {name: value.clone() for name, value in network.named_parameters()}


def test_the_figures_are_those_before_the_update():
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), batch()
    with torch.no_grad():
        logits = network(images.images)
    loss = nn.functional.cross_entropy(logits, images.targets)
    found = step(network, [images])
    assert found.loss_sum / found.weight == pytest.approx(loss.item())
    assert (found.num_images, found.weight) == (6, 6)
    assert found.score_sum == (logits.argmax(1) == images.targets).sum()
    assert not found.was_skipped


def test_dropout_masks_are_a_function_of_the_seed():
    networks = [TinyNet().train() for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        step(network, [batch()], seed=seed)
        torch.rand(5)  # nobody else's draws matter
    assert torch.equal(networks[0].fc.weight, networks[1].fc.weight)
    assert not torch.equal(networks[0].fc.weight, networks[2].fc.weight)


def test_compiled_code_draws_masks_of_its_own():
    fabric = cpu_fabric()
    plain, in_code = (fabric.setup_module(compiled(TinyNet(), use_compile)) for use_compile in (False, True))
    assert isinstance(_quick_dropout(fabric, plain), QuickDropout)
    assert not isinstance(_quick_dropout(fabric, in_code), QuickDropout)


def test_clipping_bounds_the_update_and_reports_the_norm_from_before():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    before = snapshot(network)
    found = step(network, [batch()], max_grad_norm=0.01)
    moved = math.sqrt(sum((value - before[name]).square().sum().item() for name, value in network.named_parameters()))
    assert found.grad_norm > 0.1
    assert moved == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon", "lbfgs"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(name, poison):
    network, images = TinyNet().train(), batch()
    images.images[2, 0, 3, 3] = poison
    before = snapshot(network)
    with pytest.raises(NonFiniteLoss, match=r"^the loss is nan$"):
        step(network, [batch(seed=1), images], name)
    assert all(torch.equal(before[key], value) for key, value in network.named_parameters())


class Steep(torch.autograd.Function):
    """The identity, with an infinite slope."""

    @staticmethod
    def forward(_ctx, values):
        return values.clone()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient * math.inf


class SteepNet(TinyNet):
    def forward(self, images):
        return Steep.apply(super().forward(images))


def test_a_gradient_that_is_not_finite_is_named():
    network = SteepNet().train()
    before = snapshot(network)
    with pytest.raises(NonFiniteLoss, match=r"^the gradient of .*conv1.weight.*, .* is (inf|nan)$"):
        step(network, [batch()])
    assert all(torch.equal(before[key], value) for key, value in network.named_parameters())


class SteepLater(torch.autograd.Function):
    """The identity that becomes not-a-number once the weights have moved."""

    @staticmethod
    def forward(_ctx, values, weight, first):
        return values.clone() if torch.equal(weight, first) else values * math.nan

    @staticmethod
    def backward(_ctx, gradient):
        return gradient, None, None


class BreaksWhenMoved(TinyNet):
    def __init__(self):
        super().__init__()
        self.first = self.fc.weight.detach().clone()

    def forward(self, images):
        return SteepLater.apply(super().forward(images), self.fc.weight.detach(), self.first)


def test_a_line_search_that_runs_into_nan_puts_the_weights_back():
    network = BreaksWhenMoved().train()
    before = snapshot(network)
    with pytest.raises(NonFiniteLoss):
        step(network, [batch()], "lbfgs")
    assert all(torch.equal(before[key], value) for key, value in network.named_parameters())


def test_lbfgs_lowers_the_loss_of_its_batch_at_once():
    network, images = TinyNet().train(), batch(12)
    first = step(network, [images], "lbfgs")
    second = step(network, [images], "sgd")
    assert second.loss_sum < first.loss_sum / 2


class OverflowingScaler:
    """What 16-bit precision keeps: a scale that halves when gradients overflow."""

    def __init__(self):
        self.scale = 4.0

    def get_scale(self):
        return self.scale


def test_an_overflow_that_loss_scaling_deals_with_is_no_error():
    network, fabric = SteepNet().train(), cpu_fabric()
    optimizer = build_optimizer(OptimizerConfig("sgd"), layer_groups(network), use_fused=False)
    model = fabric.setup_module(network)
    precision = fabric.strategy.precision
    precision.scaler = OverflowingScaler()
    precision.optimizer_step = lambda _: None  # as the scaler: no step with such gradients
    assert train_step(model, [batch()], ClassificationLoss(), optimizer, fabric, seed=0).was_skipped
    precision.scaler.scale = 1.0
    with pytest.raises(NonFiniteLoss):
        train_step(model, [batch()], ClassificationLoss(), optimizer, fabric, seed=0)


def test_soft_targets_count_as_their_largest_share():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    images = batch()
    shares = 0.8 * nn.functional.one_hot(images.targets, 3) + 0.2 / 3
    hard, soft = step(network, [images]), step(network, [Batch(images.images, shares)])
    assert soft.num_images == hard.num_images
    assert soft.weight == 6
