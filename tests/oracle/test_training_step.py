"""One training step and the schedules against plain PyTorch, written as its documentation does."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from striate.tasks.classification.loss import ClassificationLoss
from striate.training import optimizers
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig, ScheduleConfig
from striate.training.schedules import Plateau, rate_factor
from striate.training.step import Batch, train_step
from training_cases import TinyNet, cpu_fabric

RATE, DECAY = 0.05, 0.1
PLAIN = {
    "sgd": lambda params: torch.optim.SGD(params, lr=RATE),
    "momentum": lambda params: torch.optim.SGD(params, lr=RATE, momentum=0.9),
    "nesterov": lambda params: torch.optim.SGD(params, lr=RATE, momentum=0.9, nesterov=True),
    "adagrad": lambda params: torch.optim.Adagrad(params, lr=RATE),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=RATE, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=RATE),
    "adamw": lambda params: torch.optim.AdamW(params, lr=RATE),
}


def draw_batches(num_batches, num_images=6):
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.randn(num_images, 1, 8, 8, generator=generator), torch.randint(3, (num_images,), generator=generator)
        )
        for _ in range(num_batches)
    ]


def without_dropout():
    """Nor the bias before batch norm: its gradient is nothing but rounding, which Adam blows up to full size."""
    network = TinyNet().train()
    network.dropout.p = 0.0
    network.conv1.bias = None
    return network


def assert_close(network, plain):
    # fused and looped kernels round differently; float32 resolves 1e-7 of values near 1, and Adam divides by small
    # numbers
    for (name, ours), theirs in zip(network.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def plain_groups(network):
    """Weights with decay, biases and norms without."""
    decayed = [param for param in network.parameters() if param.ndim > 1]
    others = [param for param in network.parameters() if param.ndim <= 1]
    return [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


@pytest.mark.parametrize("name", PLAIN)
def test_three_steps_of_every_optimizer(name):
    network = without_dropout()
    plain = copy.deepcopy(network)
    fabric = cpu_fabric()
    optimizer = build_optimizer(OptimizerConfig(name, learning_rate=RATE, weight_decay=DECAY), layer_groups(network))
    model = fabric.setup_module(network)
    plain_optimizer = PLAIN[name](plain_groups(plain))
    for batch in draw_batches(3):
        train_step(model, [batch], ClassificationLoss(label_smoothing=0.1), optimizer, fabric, seed=0)

        plain_optimizer.zero_grad()
        nn.functional.cross_entropy(plain(batch.images), batch.targets, label_smoothing=0.1).backward()
        plain_optimizer.step()
    assert_close(network, plain)


def test_a_step_of_lbfgs(monkeypatch):
    """Three iterations on a convex problem: a line search blows rounding up, soon to other ways to the same end."""
    monkeypatch.setattr(optimizers, "LBFGS_EVALUATIONS", 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    plain, fabric = copy.deepcopy(network), cpu_fabric()
    (batch,) = draw_batches(1, num_images=100)
    optimizer = build_optimizer(OptimizerConfig("lbfgs", learning_rate=RATE), layer_groups(network))
    loss_fn = ClassificationLoss(label_smoothing=0.1)
    train_step(fabric.setup_module(network), [batch], loss_fn, optimizer, fabric, seed=0)

    theirs = torch.optim.LBFGS(plain.parameters(), lr=RATE, max_iter=3, history_size=10, line_search_fn="strong_wolfe")

    def closure():
        theirs.zero_grad()
        loss = nn.functional.cross_entropy(plain(batch.images), batch.targets, label_smoothing=0.1)
        loss.backward()
        return loss

    before = closure().item()
    theirs.step(closure)
    assert closure().item() < 0.9 * before
    torch.testing.assert_close(network[1].weight, plain[1].weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 1.0, 2.0])])
@pytest.mark.parametrize("is_soft", [False, True])
def test_accumulated_batches_are_one_large_batch(class_weights, is_soft):
    """Without batch norm, parts of unequal sizes and weights give the gradient of the whole."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3))
    plain = copy.deepcopy(network)
    parts = [*draw_batches(1, 6), *draw_batches(1, 3), *draw_batches(1, 1)]
    if is_soft:
        parts = [Batch(part.images, torch.softmax(part.images[:, 0, 0, :3], 1)) for part in parts]
    images, targets = torch.cat([part.images for part in parts]), torch.cat([part.targets for part in parts])
    fabric = cpu_fabric()
    optimizer = build_optimizer(OptimizerConfig("sgd", learning_rate=RATE), layer_groups(network))
    loss_fn = ClassificationLoss(0.1, class_weights)
    result = train_step(fabric.setup_module(network), parts, loss_fn, optimizer, fabric, seed=0)

    losses = nn.functional.cross_entropy(
        plain(images), targets, weight=class_weights, label_smoothing=0.1, reduction="none"
    )
    if class_weights is None:
        class_weights = torch.ones(3)
    weight = (targets @ class_weights).sum() if is_soft else class_weights[targets].sum()
    loss = losses.sum() / weight
    plain_optimizer = PLAIN["sgd"](plain.parameters())
    loss.backward()
    plain_optimizer.step()
    assert result.loss_sum / result.weight == pytest.approx(loss.item(), rel=1e-5)
    assert_close(network, plain)


@pytest.mark.parametrize(
    ("config", "scheduler"),
    [
        (ScheduleConfig("step", milestones=(0.3, 0.8)), lambda o: lr_scheduler.MultiStepLR(o, [15, 40], gamma=0.1)),
        (ScheduleConfig("linear"), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=50)),
        (ScheduleConfig("cosine"), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=50)),
        (
            ScheduleConfig("one_cycle", rise=0.3),
            lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=50, pct_start=0.3, cycle_momentum=False),
        ),
    ],
)
def test_schedules_against_pytorch(config, scheduler):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = scheduler(optimizer)
    for step in range(50):
        assert rate_factor(config, step, 50) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        if step < 49:
            theirs.step()


def test_plateau_against_pytorch():
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0.0, eps=0.0)
    ours, config = Plateau(), ScheduleConfig("plateau", factor=0.5, patience=2)
    for loss in torch.rand(60, generator=generator).tolist():
        theirs.step(loss)
        ours.observe(loss, config)
        assert ours.factor == optimizer.param_groups[0]["lr"]
