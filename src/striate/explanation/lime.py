"""LIME: a linear model of how the score depends on which parts of the image are there (Ribeiro et al. 2016,
arXiv:1602.04938).
"""

from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import laid_out_as, map_in_parts, num_at_once, run
from striate.explanation.scores import Classes, check_classes, class_scores
from striate.explanation.superpixels import superpixels


def lime(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    segments: Tensor | None = None,
    num_samples: int = 256,
    kernel_width: float = 0.25,
    ridge: float = 1e-3,
    baseline: float = 0.0,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """The weight of each pixel's segment in a linear model of the score, signed: images (N, C, H, W) -> maps (N, H, W).

    `segments` (N, H, W) number the parts of each image from 0; by default some 50 superpixels. In each of `num_samples`
    copies every segment is set to `baseline` by a coin; samples are weighed by exp(-d^2 / kernel_width^2), d their
    cosine distance from the whole image (section 3.3), and the model is a ridge regression with an intercept. `seed`
    alone draws the coins. No gradient is needed.
    """
    if num_samples < 2 or not kernel_width > 0 or ridge < 0:
        raise InputError(
            "num_samples must be at least 2, kernel_width above 0 and ridge at least 0 but they are "
            f"{num_samples}, {kernel_width} and {ridge}"
        )
    if segments is not None and segments.shape != (len(images), *images.shape[2:]):
        raise InputError(
            f"segments must be {(len(images), *images.shape[2:])} like the images but are {tuple(segments.shape)}"
        )

    chosen = check_classes(classes, len(images))

    def of_one(place: int) -> Tensor:
        def part(some: Tensor, label: Any) -> Tensor:
            own = (superpixels(some[0]) if segments is None else segments[place]).to(some.device)
            size = num_at_once(some, batch_size)
            present, scores = _sampled(network, some, own, label, num_samples, baseline, seed, size)
            return fit_linear(present, scores, kernel_width, ridge).to(some)[own][None]

        label = chosen[place : place + 1] if isinstance(chosen, Tensor) else chosen
        return map_in_parts(network, images[place : place + 1], label, part, batch_size=batch_size)

    return torch.cat([of_one(place) for place in range(len(images))])


@torch.no_grad()
def _sampled(
    network: nn.Module,
    image: Tensor,
    segments: Tensor,
    chosen: Any,
    num_samples: int,
    baseline: float,
    seed: int,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Of one image (1, C, H, W): which segments were there, (samples, segments) of 0 and 1, the first one whole, and
    the scores.
    """
    generator = torch.Generator().manual_seed(seed)
    present = torch.randint(0, 2, (num_samples, int(segments.max()) + 1), generator=generator).to(image.device)
    present[0] = 1
    scores = []
    for some in present.split(size):
        masks = some[:, segments][:, None].to(image.dtype)  # (n, 1, H, W)
        labels = chosen.expand(len(some)) if isinstance(chosen, Tensor) else chosen
        scores.append(class_scores(run(network, laid_out_as(image * masks + baseline * (1 - masks), image)), labels))
    return present, torch.cat(scores)


def fit_linear(present: Tensor, scores: Tensor, kernel_width: float, ridge: float) -> Tensor:
    """Coefficients (segments,) float64 of the weighted ridge regression of scores (samples,) on `present` (samples,
    segments).
    """
    inputs, targets = present.double(), scores.double()
    similarity = (inputs.mean(dim=1)).sqrt()  # the cosine between a vector of 0 and 1 and the vector of ones
    weights = (-((1 - similarity) ** 2) / kernel_width**2).exp()[:, None]
    centre, target = (weights * inputs).sum(0) / weights.sum(), (weights[:, 0] * targets).sum() / weights.sum()
    inputs, targets = inputs - centre, targets - target  # the intercept is not penalised
    gram = inputs.T @ (weights * inputs) + ridge * torch.eye(inputs.shape[1], dtype=torch.float64, device=inputs.device)
    return torch.linalg.lstsq(
        gram, inputs.T @ (weights[:, 0] * targets), driver="gelsd" if gram.is_cpu else None
    ).solution
