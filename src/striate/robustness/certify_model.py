"""Certify a model on the images of a source, by randomised smoothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.evaluate_model import choose_part
from striate.robustness.attack_model import choose_images, read_images
from striate.robustness.certificate import Certificates, certify
from striate.tasks.model import Model, load_model

_FACTORS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True, eq=False)
class SourceCertificates:
    """The certificates of images of one split of a source."""

    source: str
    split: str
    certificates: Certificates

    def to_json(self) -> dict[str, Any]:
        """Plain values, accuracies at radii from a quarter of sigma to three of it."""
        radii = [factor * self.certificates.sigma for factor in _FACTORS]
        return {"source": self.source, "split": self.split, "norm": "l2", **self.certificates.to_json(radii)}


def certify_model(
    model: Model | str | Path,
    source: str | Path | None = None,
    *,
    sigma: float,
    split: str | None = None,
    limit: int | None = 100,
    num_samples: int = 1000,
    alpha: float = 0.001,
    seed: int = 0,
    access: Access | None = None,
) -> SourceCertificates:
    """Certified accuracy against radius of a model, or of what `load_model` takes for one; `limit` images drawn by the
    seed.

    Noise of standard deviation `sigma` (pixels lie in [0, 1]) is added `num_samples` times to each image; a radius
    holds with probability 1 - `alpha`. Each image costs that many predictions.
    """
    access = access or Access()
    if not sigma > 0:
        raise InputError(f"sigma must be above 0 but is {sigma:g}")
    if not isinstance(model, Model):
        model = load_model(model, log=access.log)
    if not model.task.has_probabilities:
        raise InputError(f"certificates are for classifiers but this model is for {model.task.name}")
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    images, labels = read_images(model, part, choose_images(part, limit, seed))
    found = certify(
        model.pixel_model, images.to(model.device), labels, sigma=sigma, num_samples=num_samples, alpha=alpha,
        seed=seed, track=access.track,
    )  # fmt: skip
    return SourceCertificates(part.dataset.source, part.split, found)
