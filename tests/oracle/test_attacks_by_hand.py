"""Attacks against their papers' algorithms written out plainly, one image after the other."""

import torch
from torch.nn import functional as F

from attack_cases import digit_network, held_out
from striate.robustness.mi_fgsm import mi_fgsm


def gradient(network, image, label):
    image = image.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(network(image[None]), label[None]), image)[0]


def test_momentum_as_the_paper_writes_it():
    """Algorithm 1 of arXiv:1710.06081."""
    network, (images, labels) = digit_network().eval(), held_out(24)
    ours = mi_fgsm(network, images, labels, epsilon=0.1, num_steps=10, stop_early=False)
    for image, label, changed in zip(images, labels, ours.images, strict=True):
        current, momentum = image, torch.zeros_like(image)
        for _ in range(10):
            grad = gradient(network, current, label)
            momentum = momentum + grad / grad.abs().sum()
            current = (image + (current + 0.01 * momentum.sign() - image).clamp(-0.1, 0.1)).clamp(0, 1)
        torch.testing.assert_close(changed, current, atol=1e-6, rtol=0)
