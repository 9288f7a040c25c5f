"""A segmenter as a classifier of regions, for tools that ask for one score a class (Vinogradova, Dibrov & Myers 2020,
arXiv:2002.11434).

N images, K classes, h x w pixels.
"""

import dataclasses

import torch
from torch import Tensor, nn

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.catalogue import make_task
from striate.tasks.model import Model


class RegionLogits(nn.Module):
    """Images (N, C, h, w) -> (N, K): of each class the mean logit over the pixels that are predicted to have it.

    Over all pixels where none is. Which pixels those are is taken as given: gradients go through the logits alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The mean over each class's own region."""
        outputs = self.network(images)
        logits = outputs.logits if isinstance(outputs, WithAuxiliary) else outputs
        classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        region = (logits.detach().argmax(dim=1, keepdim=True) == classes).to(logits.dtype)  # (N, K, h, w)
        sizes = region.sum(dim=(2, 3))
        own = (logits * region).sum(dim=(2, 3)) / sizes.clamp(min=1)
        return torch.where(sizes > 0, own, logits.mean(dim=(2, 3)))


def as_region_classifier(model: Model) -> Model:
    """The same model, its network shared, for classification of what it finds most surely."""
    task = make_task("classification", model.class_names)
    return dataclasses.replace(model, network=RegionLogits(model.network), task=task)
