"""Adversarial training: changes in pixels by hand, each method's batches, resuming bit for bit, overfitting to one
step.
"""

import signal

import pytest
import torch
from torch import nn

from striate.data.augmentation_settings import Augmentation
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.tasks.classification.loss import ClassificationLoss
from striate.training.adversarial import Adversary, TradesLoss, overfits_to_one_step
from striate.training.step import Batch
from training_cases import Recorder, TinyNet, equal_states, full_recipe, tiny_feed, tiny_recipe, train_tiny

METHODS = ("fgsm", "fast", "free", "pgd", "trades")
PREPROCESSING = Preprocessing(1, 8, (8, 8), mean=(0.25,), std=(0.25,))
CPU = torch.device("cpu")


def adversary(method, epsilon=0.1, num_steps=0):
    return Adversary.for_run(method, epsilon, num_steps, PREPROCESSING, CPU, None)


def batch_of(count=6):
    return tiny_feed().plain_batch(torch.arange(count).numpy(), CPU)


def pixels(images):
    return images * 0.25 + 0.25


@pytest.mark.parametrize("method", ["fgsm", "fast", "pgd", "trades"])
def test_changes_stay_in_the_ball_and_in_the_range_of_pixels(method):
    network, batch = TinyNet().train(), batch_of()
    made = adversary(method, num_steps=3 if method in ("pgd", "trades") else 0).attacked(network, [batch], seed=1)
    changed = made[-1].images[-6:]
    sizes = (pixels(changed) - pixels(batch.images)).abs()
    assert 0.05 < sizes.max() <= 0.1 + 1e-6
    assert pixels(changed).min() >= -1e-6
    assert pixels(changed).max() <= 1 + 1e-6
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.bn1.num_batches_tracked == 0  # the attack's own passes move no statistics


def test_fgsm_by_hand():
    """For a linear network the gradient's sign is that of the weights: pixels fall where the label's class weighs
    more.
    """
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(0.01 * torch.stack([torch.ones(64), -torch.ones(64)]))
    images = (torch.full((1, 1, 8, 8), 0.5) - 0.25) / 0.25
    _, attacked = adversary("fgsm").attacked(network, [Batch(images, torch.tensor([0]))], seed=0)
    torch.testing.assert_close(pixels(attacked.images), torch.full((1, 1, 8, 8), 0.4))


def test_free_moves_images_by_the_gradient_of_the_update_before():
    network, batch = TinyNet().eval(), batch_of()
    seen = []

    def update(parts, _number):
        seen.append(parts[0].images.detach().clone())
        nn.functional.cross_entropy(network(parts[0].images), parts[0].targets).backward()

    adversary("free", num_steps=3).free_updates([batch], update)
    assert torch.equal(seen[0], batch.images)
    moved = (pixels(seen[1]) - pixels(seen[0])).abs()
    assert moved.max() <= 0.1 + 1e-6
    assert (moved > 0.0999).float().mean() > 0.5
    assert not torch.equal(seen[1], seen[2])


def test_trades_is_equation_5():
    logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 0])
    loss = TradesLoss(ClassificationLoss())(logits, torch.cat([labels, labels]))
    clean, attacked = logits[:4].softmax(1), logits[4:].softmax(1)
    divergence = (clean * (clean / attacked).log()).sum(1).mean()
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits[:4], labels) + 6 * divergence)


@pytest.mark.parametrize("method", METHODS)
def test_runs_go_on_bit_for_bit(tmp_path, method, monkeypatch):
    monkeypatch.setattr("striate.training.session.SHOW_EVERY_S", 0.0)
    recipe = full_recipe(
        adversarial=method, adversarial_epsilon=0.1, attack_steps=0 if method in ("fgsm", "fast") else 2,
        augmentation=Augmentation(shift_px=1, flip=True),
    )  # fmt: skip
    whole, _ = train_tiny(tmp_path / "whole", recipe)

    def interrupt(info):
        if info.step == 4:
            signal.raise_signal(signal.SIGINT)

    _, stopped = train_tiny(tmp_path / "run", recipe, observer=Recorder(interrupt))
    assert stopped.status == "interrupted"
    resumed, _ = train_tiny(tmp_path / "run", recipe, resume=True)
    assert equal_states(whole, resumed)


def test_robust_accuracy_is_recorded_and_grows(tmp_path):
    observer = Recorder()
    train_tiny(
        tmp_path, tiny_recipe(adversarial="pgd", adversarial_epsilon=0.1, attack_steps=3, epochs=12), observer=observer
    )
    robust = [record["validation_robust_accuracy"] for record in observer.records]
    assert robust[-1] >= 0.6
    assert all(
        record["validation_robust_accuracy"] <= record["validation_accuracy"] + 1e-9 for record in observer.records
    )
    plain = Recorder()
    train_tiny(tmp_path / "plain", observer=plain)
    assert "validation_robust_accuracy" not in plain.records[0]


def test_overfitting_to_one_step():
    assert overfits_to_one_step(robust=0.05, single_step=0.9, best_robust=0.45, num_classes=10)
    assert not overfits_to_one_step(robust=0.40, single_step=0.5, best_robust=0.45, num_classes=10)
    assert not overfits_to_one_step(robust=0.0, single_step=0.1, best_robust=0.1, num_classes=10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adversarial": "fgm"}, "adversarial must be one of none, fgsm"),
        ({"adversarial": "pgd", "adversarial_epsilon": 8.0}, r"did you mean 8/255\?"),
        ({"adversarial": "fast", "attack_steps": 3}, "fast takes a single step but 3 are asked for"),
        ({"adversarial": "pgd", "freeze": "base"}, "goes without frozen layers"),
        ({"adversarial": "trades", "augmentation": Augmentation(mixup=0.2)}, "goes without mixup"),
    ],
)
def test_recipes_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        tiny_recipe(**changes)
