"""Answers averaged over several views of each image (test-time augmentation). N images, K classes.

"mirror": the image and its mirror image, as in most papers since AlexNet. "six": these two, and the same moved by one
pixel up and left, and down and right, the border reflected; the unmoved ones count half (arXiv:2404.00498, section
3.5). Departure: probabilities are averaged, as AlexNet does; airbench averages logits.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.tasks.classification.logits import class_logits

Average = Literal["mirror", "six"]


class Averaged(nn.Module):
    """A network that looks at several views of each image: images (N, C, H, W) -> logits (N, K).

    The logits are the logarithm of the mean probabilities. InputError for a name that is none of the kinds.
    """

    def __init__(self, network: nn.Module, average: Average | str) -> None:
        super().__init__()
        if average not in get_args(Average):
            raise InputError(
                f"answers are averaged over mirror, six, ten_crop or five_scales views but not over {average!r}"
            )
        self.network = network
        self.average = average

    def forward(self, images: Tensor) -> Tensor:
        """Images as the network wants them -> the logarithm of mean probabilities (N, K)."""
        parts = [
            class_logits(self.network(view)).float().log_softmax(dim=1) + torch.tensor(weight).log().item()
            for view, weight in _views(images, is_moved=self.average == "six")
        ]
        return torch.stack(parts).logsumexp(dim=0)


def _views(images: Tensor, *, is_moved: bool) -> Iterator[tuple[Tensor, float]]:
    """Each view with its weight; the weights sum to 1."""
    places = [(images, 1.0)]
    if is_moved:
        height, width = images.shape[2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        places = [
            (images, 0.5),
            (padded[:, :, :height, :width], 0.25),
            (padded[:, :, 2 : 2 + height, 2 : 2 + width], 0.25),
        ]
    for place, weight in places:
        yield place, weight / 2
        yield place.flip(3), weight / 2
