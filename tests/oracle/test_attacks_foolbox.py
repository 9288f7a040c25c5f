"""Pixel for pixel the attacks of Foolbox, where nothing is drawn at random; every step taken (no image leaves
early).
"""

import warnings

import pytest
import torch

from attack_cases import digit_network, held_out
from striate.robustness.carlini_wagner import carlini_wagner
from striate.robustness.criteria import Targeted
from striate.robustness.deepfool import deepfool
from striate.robustness.fgsm import fgsm
from striate.robustness.pgd import bim, pgd

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy.ndimage.filters
    import foolbox


@pytest.fixture(scope="module")
def case():
    network = digit_network().eval()
    return network, foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu"), *held_out(64)


def by_foolbox(attack, case, epsilon, criterion=None):
    _, model, images, labels = case
    _, clipped, success = attack(model, images, criterion or labels, epsilons=epsilon)
    return clipped, success


@pytest.mark.parametrize("epsilon", [8 / 255, 0.1, 0.3])
def test_fgsm_is_pixel_identical(case, epsilon):
    network, _, images, labels = case
    theirs, success = by_foolbox(foolbox.attacks.LinfFastGradientAttack(), case, epsilon)
    ours = fgsm(network, images, labels, epsilon=epsilon, stop_early=False)
    assert (ours.images - theirs).abs().max() == 0
    assert torch.equal(ours.is_adversarial, success)


def test_fast_gradient_by_l2(case):
    network, _, images, labels = case
    theirs, _ = by_foolbox(foolbox.attacks.L2FastGradientAttack(), case, 0.7)
    ours = fgsm(network, images, labels, epsilon=0.7, norm="l2", stop_early=False)
    torch.testing.assert_close(ours.images, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("attack", [bim, pgd], ids=["bim", "pgd"])
def test_iterated_steps_are_pixel_identical(case, attack):
    network, _, images, labels = case
    peer = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.01, steps=20, random_start=False)
    theirs, success = by_foolbox(peer, case, 0.1)
    options = {"random_start": False} if attack is pgd else {}
    ours = attack(network, images, labels, epsilon=0.1, num_steps=20, step_size=0.01, stop_early=False, **options)
    assert (ours.images - theirs).abs().max() == 0
    assert torch.equal(ours.is_adversarial, success)


def test_iterated_steps_by_l2(case):
    network, _, images, labels = case
    peer = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.1, steps=10, random_start=False)
    theirs, _ = by_foolbox(peer, case, 0.6)
    ours = pgd(
        network,
        images,
        labels,
        epsilon=0.6,
        norm="l2",
        num_steps=10,
        step_size=0.1,
        random_start=False,
        stop_early=False,
    )
    torch.testing.assert_close(ours.images, theirs, atol=1e-5, rtol=0)


def test_targets(case):
    network, _, images, labels = case
    targets = (labels + 3) % 10
    peer = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.02, steps=10, random_start=False)
    theirs, success = by_foolbox(peer, case, 0.2, foolbox.criteria.TargetedMisclassification(targets))
    ours = pgd(
        network, images, labels, epsilon=0.2, criterion=Targeted(targets), num_steps=10, step_size=0.02,
        random_start=False, stop_early=False,
    )  # fmt: skip
    assert (ours.images - theirs).abs().max() == 0
    assert torch.equal(ours.is_adversarial, success)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool(case, norm):
    network, _, images, labels = case
    name = {"l2": foolbox.attacks.L2DeepFoolAttack, "linf": foolbox.attacks.LinfDeepFoolAttack}[norm]
    theirs, success = by_foolbox(name(steps=50, candidates=10, overshoot=0.02), case, None)
    ours = deepfool(network, images, labels, norm=norm)
    torch.testing.assert_close(ours.images, theirs, atol=1e-6, rtol=0)
    assert torch.equal(ours.is_adversarial, success)


def test_carlini_wagner_finds_changes_as_small(case):
    """Both search for constants, from other first ones: the mean length within three percent."""
    network, model, images, labels = case
    images, labels = images[:8], labels[:8]
    peer = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=6, steps=150, stepsize=0.02, initial_const=0.01)
    _, theirs, success = peer(model, images, labels, epsilons=None)
    ours = carlini_wagner(network, images, labels, num_searches=6, num_steps=150, step_size=0.02)
    assert success.all()
    assert ours.is_adversarial.all()
    theirs_mean = (theirs - images).flatten(1).norm(dim=1)[ours.changed].mean().item()
    assert ours.mean_size < 1.03 * theirs_mean
