"""How much the loss minds a change of a layer's weights: the diagonal of the Fisher information, from a few images and
no labels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.compression.weights_of import weight_of, weighted_layers
from striate.networks.restore import evaluating
from striate.progress import Track, track_silently
from striate.tasks.classification.logits import class_logits


def fisher_diagonal(network: nn.Module, images: Tensor, *, track: Track = track_silently) -> dict[str, Tensor]:
    """For each weight of convolutions and dense layers the mean square, over images (N, C, H, W), of the gradient of
    its loss, in nats.

    The label of each image is drawn, with seed 0, from what the network itself answers, so that this is the Fisher
    information and a positive estimate of the Hessian's diagonal: a change d of a weight raises the loss by about
    fisher * d ** 2 / 2 (Martens 2020, arXiv:1412.1193). The network comes back as it was.
    """
    layers = weighted_layers(network)
    sums = {name: torch.zeros_like(weight_of(layer)) for name, layer in layers.items()}
    weights = [weight_of(layer) for layer in layers.values()]
    needs = [weight.requires_grad for weight in weights]
    generator = torch.Generator().manual_seed(0)
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with evaluating(network), torch.enable_grad():
            for image in track(images.split(1), "measuring what the loss minds", len(images)):
                logits = class_logits(network(image)).float()
                drawn = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator)[:, 0]
                loss = F.cross_entropy(logits, drawn.to(logits.device))
                for name, grad in zip(sums, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                    if grad is not None:
                        sums[name] += grad.square()
    finally:
        for weight, need in zip(weights, needs, strict=True):
            weight.requires_grad_(need)
    return {name: total / len(images) for name, total in sums.items()}
