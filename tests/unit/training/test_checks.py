import copy
import math

import pytest
import torch
from torch import nn

import striate.training.checks as checks_module
from striate.errors import NonFiniteLoss
from striate.tasks.classification.loss import ClassificationLoss
from striate.training.checks import (
    check_first_loss,
    check_gradients,
    check_overfitting,
    check_regularization,
    run_checks,
    standing_still,
)
from training_cases import Recorder, TinyNet, tiny_feed, tiny_recipe, train_tiny

CPU = torch.device("cpu")


def test_a_sound_network_passes_every_check_and_comes_back_untouched():
    network = TinyNet().eval()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    results = run_checks(network, tiny_recipe(), tiny_feed(), device=CPU)
    assert [(each.name, each.passed) for each in results] == [
        ("loss at start", True),
        ("regularisation", True),
        ("gradients", True),
        ("overfitting a handful", True),
    ], results
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not network.training
    assert all(param.grad is None and param.requires_grad for param in network.parameters())


def test_first_loss_is_held_against_the_logarithm_of_the_classes():
    assert check_first_loss(math.log(10) + 0.3, 10).passed
    high, low = check_first_loss(9.0, 10), check_first_loss(0.4, 10)
    assert not high.passed
    assert high.detail == (
        "the first loss is 9.00; guessing among 10 classes gives ln(10) = 2.30: the network starts out sure of wrong "
        "answers; look at the scale of the first weights and of the input"
    )
    assert not low.passed
    assert "labels that leak into the images" in low.detail


def test_regularisation_adds_half_the_decay_times_the_squared_weights():
    network = nn.Linear(2, 2)
    nn.init.constant_(network.weight, 3.0)
    result = check_regularization(network, 1.0, 0.1)
    assert result.passed
    assert result.detail == "the weight decay of 0.1 adds 1.8 to the loss of 1.00"  # 0.05 x 4 x 9 = 1.8
    assert not check_regularization(nn.BatchNorm2d(3), 1.0, 0.1).passed


class WithUnusedLayer(TinyNet):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


def test_an_unused_layer_is_found():
    results = run_checks(WithUnusedLayer(), tiny_recipe(), tiny_feed(), device=CPU, head="fc")
    (gradients,) = [each for each in results if each.name == "gradients"]
    assert not gradients.passed
    assert gradients.detail == (
        "no gradient reaches unused.weight, unused.bias: unused layers, or units that are dead from the start"
    )


def test_frozen_layers_need_no_gradients():
    results = run_checks(TinyNet(), tiny_recipe(freeze="base"), tiny_feed(), device=CPU)
    assert results[2].detail == "gradients reach all 2 tensors of weights"


def test_dead_units_are_found():
    network = TinyNet()
    nn.init.constant_(network.conv2.bias, -1e3)
    results = run_checks(network, tiny_recipe(), tiny_feed(), device=CPU)
    assert not results[2].passed
    assert results[2].detail.startswith("no gradient reaches conv1.weight, conv1.bias, bn1.weight and 4 more:")


class DeafNet(TinyNet):
    """Sees no image at all."""

    def forward(self, images):
        return super().forward(torch.zeros_like(images))


def test_a_network_that_cannot_learn_a_handful_is_found(monkeypatch):
    monkeypatch.setattr(checks_module, "BUDGET_S", math.inf)  # a busy machine must not be what ends it
    loader = tiny_feed()
    result = check_overfitting(DeafNet(), loader.plain_batch(loader.train[:8], CPU), ClassificationLoss(), seed=0)
    assert not result.passed
    assert result.detail.endswith(
        "in 150 steps: the network cannot learn them; look at labels, preprocessing and layers"
    )


def test_a_slow_machine_is_given_the_benefit_of_the_doubt():
    loader = tiny_feed()
    result = check_overfitting(
        TinyNet(), loader.plain_batch(loader.train[:8], CPU), ClassificationLoss(), seed=0, budget_s=0.0
    )
    assert result.passed
    assert result.detail.endswith("in 0 steps, all that 0 s allowed")


def test_equal_images_with_different_labels_do_not_spoil_the_handful():
    loader = tiny_feed()
    loader.packed.pixels.setflags(write=True)
    for index in loader.train:
        loader.packed.image(index)[...] = loader.packed.image(index % 2)  # two different images in all, three labels
    results = run_checks(TinyNet(), tiny_recipe(), loader, device=CPU)
    assert results[3].passed
    assert results[3].detail.startswith("2 images: ")


def test_weights_that_are_not_finite_stop_at_once():
    network = TinyNet()
    nn.init.constant_(network.fc.bias, math.nan)
    with pytest.raises(
        NonFiniteLoss, match=r"^the loss is nan before any training; look at the weights the run starts"
    ):
        run_checks(network, tiny_recipe(), tiny_feed(), device=CPU)
    network = nn.Linear(1, 1)
    network.weight.grad = torch.tensor([[math.inf]])
    with pytest.raises(NonFiniteLoss, match=r"^the gradient of weight is not finite before any training; look at"):
        check_gradients(network)


@pytest.mark.parametrize(
    ("loss", "num_classes", "epoch", "num_epochs", "says_so"),
    [
        (0.6931, 2, 2, 5, True),
        (0.6931, 2, 3, 5, False),
        (0.68, 2, 2, 5, False),
        (2.3026, 10, 2, 2, True),
        (2.25, 10, 2, 2, False),
        (0.6931, 2, 2, 30, False),
        (0.6931, 2, 10, 30, True),
    ],
)
def test_a_loss_that_stands_at_guessing_is_noticed_once(loss, num_classes, epoch, num_epochs, says_so):
    line = standing_still(loss, num_classes, epoch, num_epochs)
    assert (line is not None) == says_so
    if line:
        assert f"ln({num_classes})" in line
        assert "--find-rate" in line


def test_a_run_whose_units_are_dead_says_so(tmp_path):
    """The last ReLU's inputs are all negative: nothing ever moves."""

    class Dead(TinyNet):
        def forward(self, images):
            return (super().forward(images) - 100).relu()

    recorder = Recorder()
    train_tiny(tmp_path, network=Dead(), observer=recorder)
    assert [line for line in recorder.notices if "still that of guessing, ln(3) = 1.0986" in line]
    quiet = Recorder()
    train_tiny(tmp_path / "alive", observer=quiet)
    assert not [line for line in quiet.notices if "guessing" in line]
