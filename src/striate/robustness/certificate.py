"""Randomised smoothing: a radius within which no change can move the answer (Cohen, Rosenfeld & Kolter 2019,
arXiv:1902.02918).

The smoothed classifier answers what the network most often answers under normal noise. N images (N, C, H, W), K
classes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from scipy.special import betaincinv
from torch import Tensor

from striate.errors import InputError
from striate.progress import Track, track_silently
from striate.robustness.attacked import Attacked, Callee, attacking
from striate.robustness.draws import branch, image_keys, normal
from striate.tasks.classification.logits import first_best
from striate.tasks.intervals import wilson_interval

ABSTAINS = -1
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Certificates:
    """What smoothing certifies for N images: the class (N,), -1 where it abstains, and the `l2` radius (N,), pixels
    being 0 to 1.

    Each certificate holds with probability 1 - alpha over the noise that was drawn. `clean_correct` (N,): the network
    itself, without noise, is correct.
    """

    classes: Tensor
    radii: Tensor
    labels: Tensor
    clean_correct: Tensor
    sigma: float
    num_samples: int
    alpha: float

    def __len__(self) -> int:
        return len(self.classes)

    def accuracy_at(self, radius: float) -> float:
        """The fraction of images that are certified for their own label at `radius` or more."""
        return self._num_at(radius) / len(self)

    def to_json(self, radii: Iterable[float]) -> dict[str, Any]:
        """Plain values, with the certified accuracy and its interval at each of `radii`."""
        certified = (self.classes == self.labels) & (self.radii > 0)
        return {
            "num_images": len(self),
            "sigma": self.sigma,
            "num_samples": self.num_samples,
            "alpha": self.alpha,
            "clean_accuracy": self.clean_correct.float().mean().item(),
            "smoothed_accuracy": certified.float().mean().item(),
            "abstained": int((self.classes == ABSTAINS).sum()),
            "mean_radius": self.radii[certified].mean().item() if certified.any() else 0.0,
            "largest_radius": self.radii.max().item(),
            "certified": [
                {
                    "radius": radius,
                    "accuracy": self.accuracy_at(radius),
                    "interval": list(wilson_interval(self._num_at(radius), len(self))),
                }
                for radius in radii
            ],
        }

    def _num_at(self, radius: float) -> int:
        return int(((self.classes == self.labels) & (self.radii >= radius) & (self.radii > 0)).sum())


def certify(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float,
    num_samples: int = 1000,
    num_guesses: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
    track: Track = track_silently,
) -> Certificates:
    """Guess the class by `num_guesses` noisy copies, then bound its probability by `num_samples` others (section 3.2,
    CERTIFY).

    images (N, C, H, W) in [0, 1]; noise of standard deviation `sigma` is added and not cut at [0, 1]. Radius sigma *
    Phi^-1(p), p the lower Clopper-Pearson bound at 1 - alpha; where p is not above a half, it abstains.
    """
    if not sigma > 0 or math.isinf(sigma):
        raise InputError(f"sigma must be above 0 but is {sigma:g}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1 but is {alpha:g}")
    if num_samples < 1 or num_guesses < 1:
        raise InputError(f"certify needs samples and guesses but was given {num_samples} and {num_guesses}")
    keys = image_keys(images, seed)
    classes, radii, clean = [], [], []
    with attacking(network) as attacked:
        for row in track(range(len(images)), "certifying", len(images)):
            image, key = images[row : row + 1], keys[row : row + 1]
            clean.append(int(first_best(attacked.outputs(image))[0]))
            guess = int(_counts(attacked, image, branch(key, 0), sigma, num_guesses).argmax())
            hits = int(_counts(attacked, image, branch(key, 1), sigma, num_samples)[guess])
            low = lower_bound(hits, num_samples, alpha)
            classes.append(guess if low > 0.5 else ABSTAINS)
            radii.append(sigma * NormalDist().inv_cdf(low) if low > 0.5 else 0.0)
    return Certificates(
        classes=torch.tensor(classes),
        radii=torch.tensor(radii),
        labels=labels.cpu(),
        clean_correct=torch.tensor(clean) == labels.cpu(),
        sigma=sigma,
        num_samples=num_samples,
        alpha=alpha,
    )


def lower_bound(num_hits: int, num_trials: int, alpha: float) -> float:
    """The one-sided lower bound at confidence 1 - alpha for the probability behind `num_hits` of `num_trials`.

    Clopper & Pearson 1934 (Biometrika 26:404-413): the alpha quantile of Beta(hits, trials - hits + 1).
    """
    if num_hits == 0:
        return 0.0
    return float(betaincinv(num_hits, num_trials - num_hits + 1, alpha))


def _counts(attacked: Attacked, image: Tensor, key: Tensor, sigma: float, count: int) -> Tensor:
    """How often each class is named under `count` draws of noise: (K,)."""
    total: Tensor | None = None
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        noise = normal(branch(key, start), (size, *image.shape[1:]))[0]
        outputs = attacked.outputs(image + sigma * noise)
        found = torch.bincount(first_best(outputs), minlength=outputs.shape[1])
        total = found if total is None else total + found
    assert total is not None
    return total
