"""Signs that an attack was too weak for its figures to mean anything: masked gradients and their relatives.

After Athalye, Carlini & Wagner 2018 (arXiv:1802.00420, section 3.1) and Carlini et al. 2019 (arXiv:1902.06705, sections
4.9 and 5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.robustness.attack_batches import Batch
from striate.robustness.attacked import Callee, attacking
from striate.robustness.criteria import UNTARGETED
from striate.robustness.draws import image_keys
from striate.robustness.fgsm import fgsm
from striate.robustness.methods import METHODS
from striate.robustness.norms import Norm, find_norm
from striate.robustness.pgd import pgd
from striate.robustness.square import square
from striate.units import percent

_FEWEST = 20
_SLACK = 0.03
"""By how much of all images one attack may be better by chance before it is worth a word."""
_FORWARD_TOLERANCE = 1e-3
_NUM_SQUARES, _NUM_STEPS = 100, 10
_ZERO_FRACTION = 0.1


@dataclass(frozen=True)
class Probe:
    """What a few images say: robust accuracies of a single step, of ten, of a black box, and at the largest change
    there is.
    """

    single_step: float
    iterated: float
    black_box: float | None
    at_most: float
    chance: float
    zero_gradients: float
    differs_each_time: bool
    differs_in_batch: bool


def probe(network: Callee, images: Tensor, labels: Tensor, *, epsilon: float, norm: str | Norm, seed: int = 0) -> Probe:
    """Look at images (N, C, H, W) in [0, 1] that the network names correctly, labels (N,). Costs some 170 passes an
    image.
    """
    norm = find_norm(norm)
    single = fgsm(network, images, labels, norm=norm, epsilon=epsilon)
    iterated = pgd(network, images, labels, norm=norm, epsilon=epsilon, num_steps=_NUM_STEPS, seed=seed)
    largest = float(norm.size(torch.ones_like(images[:1])).item())
    at_most = pgd(network, images, labels, norm=norm, epsilon=largest, num_steps=_NUM_STEPS, step_size=largest / 4)
    black = None
    if norm.name in METHODS["square"].norms:
        black = square(network, images, labels, norm=norm, epsilon=epsilon, num_steps=_NUM_SQUARES, seed=seed)
    differs_each_time, differs_in_batch, num_classes = _forward_twice(network, images)
    return Probe(
        single_step=single.robust_accuracy,
        iterated=iterated.robust_accuracy,
        black_box=black.robust_accuracy if black else None,
        at_most=at_most.robust_accuracy,
        chance=1 / num_classes,
        zero_gradients=_zero_gradients(network, images, labels, epsilon, norm),
        differs_each_time=differs_each_time,
        differs_in_batch=differs_in_batch,
    )


def warnings_of(found: Probe) -> list[str]:
    """One line for each sign that the figures are too good."""
    lines = []
    if found.differs_each_time:
        lines.append(
            "the network answers the same images differently each time: the gradients of one pass say little, and no "
            "figure here can be relied on"
        )
    if found.differs_in_batch:
        lines.append(
            "an image's outputs depend on the other images of its batch: attack images one by one, or fix the network"
        )
    if found.zero_gradients > _ZERO_FRACTION:
        lines.append(
            f"the gradient is exactly zero for {percent(found.zero_gradients, 0)} of the images, so steps along it go "
            "nowhere: try apgd_dlr, or square, which needs no gradients"
        )
    if found.iterated > found.single_step + _SLACK:
        lines.append(
            f"ten steps leave {percent(found.iterated, 1)} where a single one leaves {percent(found.single_step, 1)}: "
            "gradients are masked, and iterated attacks get lost"
        )
    if found.black_box is not None and found.iterated > found.black_box + _SLACK:
        lines.append(
            f"random squares without gradients leave {percent(found.black_box, 1)}, ten steps along gradients "
            f"{percent(found.iterated, 1)}: the gradients mislead"
        )
    if found.at_most > found.chance + _SLACK:
        lines.append(
            f"with no bound at all the steps still leave {percent(found.at_most, 1)}, more than guessing "
            f"({percent(found.chance, 0)}): the attack fails, not the images"
        )
    return lines


def doubts(
    network: Callee, images: Tensor, labels: Tensor, was_correct: Tensor, *, epsilon: float, norm: str, seed: int = 0
) -> tuple[str, ...]:
    """The warnings from at most 64 of the images that were named correctly; none where there are too few or no
    gradients.
    """
    rows = was_correct.nonzero()[:64, 0]
    if not isinstance(network, nn.Module) or len(rows) < _FEWEST:
        return ()
    return tuple(warnings_of(probe(network, images[rows], labels[rows], epsilon=epsilon, norm=norm, seed=seed)))


def _forward_twice(network: Callee, images: Tensor) -> tuple[bool, bool, int]:
    with attacking(network) as attacked:
        first, second = attacked.outputs(images), attacked.outputs(images)
        alone = torch.cat([attacked.outputs(image) for image in images[:8].split(1)])
    scale = first.abs().max().item() + 1
    differs_each_time = (first - second).abs().max().item() > _FORWARD_TOLERANCE * scale
    differs_in_batch = (first[:8] - alone).abs().max().item() > _FORWARD_TOLERANCE * scale
    return differs_each_time, differs_in_batch and not differs_each_time, first.shape[1]


def _zero_gradients(network: Callee, images: Tensor, labels: Tensor, epsilon: float, norm: Norm) -> float:
    """The fraction of images whose gradient of the cross-entropy is zero in every pixel."""
    with attacking(network) as attacked:
        batch = Batch(attacked, images, labels, UNTARGETED, epsilon, norm, image_keys(images, 0))
        _, _, gradients = batch.climb(images)
    return (gradients.flatten(1).abs().amax(dim=1) == 0).float().mean().item()
