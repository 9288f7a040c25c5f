"""Warnings: none for a sound evaluation, each one for a network made to mask its gradients in that way."""

import torch
from torch import nn

from attack_cases import digit_network, held_out
from striate.robustness.doubts import Probe, doubts, probe, warnings_of

IMAGES, LABELS = held_out(60)


class Saturated(nn.Module):
    """Logits so large that the cross-entropy's gradient is zero to the last digit."""

    def __init__(self):
        super().__init__()
        self.network = digit_network()

    def forward(self, images):
        return 1e4 * self.network(images)


class Rounded(nn.Module):
    """Pixels in steps, whose gradient is zero everywhere, put behind a gradient of noise."""

    def __init__(self):
        super().__init__()
        self.network = digit_network()
        self.register_buffer("mask", torch.randn(1, 1, 8, 8))

    def forward(self, images):
        rounded = (images * 8).round() / 8
        misleading = (images * self.mask).sum(dim=(1, 2, 3))[:, None]
        return self.network(rounded.detach()) + 1e-6 * (misleading - misleading.detach()) * torch.randn(1, 10)


class Noisy(nn.Module):
    """A random forward pass."""

    def __init__(self):
        super().__init__()
        self.network = digit_network()

    def forward(self, images):
        return self.network(images + 0.2 * torch.randn_like(images))


class BatchBound(nn.Module):
    """Outputs that depend on the batch: batch statistics in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.network = digit_network()

    def forward(self, images):
        return self.network(images - images.mean(dim=0, keepdim=True) + 0.3)


def lines(network, epsilon=0.15):
    with torch.no_grad():
        correct = network.eval()(IMAGES).argmax(dim=1) == LABELS
    return doubts(network, IMAGES, LABELS, correct, epsilon=epsilon, norm="linf")


def test_a_plain_network_is_beyond_doubt():
    assert lines(digit_network()) == ()


def test_saturated_logits():
    assert any("gradient is exactly zero" in line for line in lines(Saturated()))


def test_gradients_that_mislead():
    found = lines(Rounded())
    assert any("random squares without gradients leave" in line for line in found)


def test_an_attack_that_fails_without_a_bound():
    found = Probe(0.9, 0.9, None, 0.9, 0.1, 0.0, False, False)
    assert warnings_of(found)[0].startswith(
        "with no bound at all the steps still leave 90.0 %, more than guessing (10 %)"
    )


def test_random_forward_passes():
    assert "differently each time" in lines(Noisy())[0]


def test_outputs_that_depend_on_the_batch():
    assert any("depend on the other images of its batch" in line for line in lines(BatchBound()))


def test_iterated_weaker_than_single_step_is_named_with_figures():
    found = Probe(0.2, 0.5, None, 0.0, 0.1, 0.0, False, False)
    assert warnings_of(found) == [
        "ten steps leave 50.0 % where a single one leaves 20.0 %: gradients are masked, and iterated attacks get lost"
    ]


def test_a_probe_of_another_norm_has_figures_too():
    found = probe(digit_network(), IMAGES[:30], LABELS[:30], epsilon=1.0, norm="l2")
    assert found.iterated <= found.single_step
    assert found.at_most == 0
