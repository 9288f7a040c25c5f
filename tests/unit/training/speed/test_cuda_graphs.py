"""Updates that are not waited for: the same weights and figures as those that are. Graphs are in test_cuda.py."""

import math

import pytest
import torch
from torch import nn

from striate.errors import NonFiniteLoss
from striate.tasks.classification.loss import ClassificationLoss
from striate.training import session
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig
from striate.training.speed.cuda_graphs import AsynchronousSteps, can_run_asynchronously
from striate.training.step import Batch, train_step
from training_cases import Recorder, TinyNet, cpu_fabric, equal_states, full_recipe, tiny_recipe, train_tiny

SGD = OptimizerConfig("nesterov", learning_rate=0.05, weight_decay=1e-3)
ADAMW = OptimizerConfig("adamw", learning_rate=0.01)
MUON = OptimizerConfig("muon", learning_rate=0.02, momentum=0.6, weight_decay=0.1, use_unit_filters=True)


def made(config, network=None):
    """A network with its optimiser, set up."""
    network, fabric = network or TinyNet(), cpu_fabric()
    network.train()
    optimizer = build_optimizer(config, layer_groups(network))
    return network, fabric.setup_module(network), optimizer, fabric


def batch(number, size=8):
    generator = torch.Generator().manual_seed(number)
    return Batch(torch.randn(size, 1, 8, 8, generator=generator), torch.arange(size) % 3)


def queue_of(model, optimizer, fabric, **changes):
    return AsynchronousSteps(
        model, ClassificationLoss(), optimizer, fabric, **{"max_grad_norm": math.inf, "use_graphs": True} | changes
    )


@pytest.mark.parametrize("config", [SGD, ADAMW, MUON], ids=lambda config: config.name)
@pytest.mark.parametrize("max_grad_norm", [math.inf, 0.5])
def test_weights_and_figures_are_those_of_steps_that_are_waited_for(config, max_grad_norm):
    plain, plain_model, plain_optimizer, fabric = made(config)
    network, model, optimizer, _ = made(config)
    queue = queue_of(model, optimizer, fabric, max_grad_norm=max_grad_norm)
    expected, found = [], []
    for number in range(6):
        parts = [batch(number), batch(number + 100)]
        expected.append(
            train_step(
                plain_model,
                parts,
                ClassificationLoss(),
                plain_optimizer,
                fabric,
                seed=number,
                max_grad_norm=max_grad_norm,
            )
        )
        queue.update(parts, seed=number, place=str(number))
        found += queue.done()
    found += queue.done(wait=True)
    assert [update.place for update in found] == list("012345")
    assert [update.result(model) for update in found] == expected
    assert equal_states(plain, network)


@pytest.mark.parametrize("config", [SGD, ADAMW, MUON], ids=lambda config: config.name)
def test_from_the_first_bad_update_on_nothing_moves(config):
    network, model, optimizer, fabric = made(config)
    queue = queue_of(model, optimizer, fabric)
    queue.update([batch(0)], seed=0, place="good")
    before = {name: param.clone() for name, param in network.named_parameters()}
    bad = Batch(torch.full((8, 1, 8, 8), math.nan), torch.zeros(8, dtype=torch.int64))
    queue.update([bad], seed=1, place="bad")
    network.bn1.reset_running_stats()
    queue.update([batch(2)], seed=2, place="after")
    assert all(torch.equal(before[name], param) for name, param in network.named_parameters())
    good, worse, after = queue.done(wait=True)
    assert math.isfinite(good.result(model).loss_sum)
    with pytest.raises(NonFiniteLoss, match="the loss is nan"):
        worse.result(model)
    assert (worse.place, after.place) == ("bad", "after")


@pytest.mark.parametrize("recipe", [tiny_recipe(ema_decay=0.9), full_recipe()], ids=["plain", "full"])
def test_a_run_is_the_same_run_with_a_queue(tmp_path, monkeypatch, recipe):
    plain, _ = train_tiny(tmp_path / "plain", recipe)
    monkeypatch.setattr(session, "can_run_asynchronously", lambda *_: True)
    recorder = Recorder()
    queued, result = train_tiny(tmp_path / "queued", recipe, observer=recorder)
    assert equal_states(plain, queued)
    assert result.status == "finished"
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("plain", "queued")]
    assert len(lines[0]) == len(lines[1]) == recipe.epochs
    for ours, theirs in zip(*lines, strict=True):
        assert without_times(ours) == without_times(theirs)


def without_times(line):
    return [part for part in line.split(", ") if '_s"' not in part and "per_s" not in part]


def test_a_queue_says_where_the_loss_went_bad(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "can_run_asynchronously", lambda *_: True)
    recipe = tiny_recipe(optimizer=OptimizerConfig("sgd", learning_rate=1e30))
    with pytest.raises(
        NonFiniteLoss, match=r"in epoch 1, batch [23], learning rate 1e\+30; the rate is probably too high"
    ):
        train_tiny(tmp_path, recipe)


def test_only_one_process_on_cuda_queues():
    network = nn.Linear(2, 2)
    optimizer = build_optimizer(SGD, layer_groups(network))
    assert not can_run_asynchronously(optimizer, cpu_fabric())
