"""Adversarial training: each batch is attacked by the network as it is now, and trained on. n images, K classes.

fgsm   half the loss on the images, half on their FGSM images (Goodfellow et al. 2015, arXiv:1412.6572, section 6)
fast   one step of 1.25 epsilon from a random start (Wong, Rice & Kolter 2020, arXiv:2001.03994, algorithm 3)
free   K updates on each batch, the gradient of each also moving the images (Shafahi et al. 2019, arXiv:1904.12843,
algorithm 1) pgd    K steps from a random start (Madry et al. 2018, arXiv:1706.06083, section 2.1) trades cross-entropy
of the images, and six times the divergence of their PGD images (Zhang et al. 2019, arXiv:1901.08573, eq. 5)

Departures: the attack sees the network in evaluation mode, so that its own passes move no running statistics; in `free`
the change begins at zero with every batch instead of where the last one ended, so that a run is resumed exactly without
storing it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.restore import evaluating
from striate.robustness.draws import branch, image_keys, uniform
from striate.tasks.classification.logits import class_logits
from striate.tasks.task import Objective, Targets
from striate.training.step import Batch

TRADES_WEIGHT = 6.0
DEFAULT_STEPS = {"fgsm": 1, "fast": 1, "free": 4, "pgd": 7, "trades": 7}
"""Steps of the attack, of `free` updates on each batch."""
_VALIDATION_STEPS = 10
MOST_VALIDATED = 500


@dataclass(frozen=True, eq=False)
class Adversary:
    """What attacks the batches of a run: `method`, `epsilon` in pixels of [0, 1], `num_steps`. `low` and `high` are
    what 0 and 1 are for the network, broadcast against its images.
    """

    method: str
    epsilon: float
    num_steps: int
    low: Tensor
    high: Tensor
    autocast_dtype: torch.dtype | None = None

    @classmethod
    def for_run(
        cls,
        method: str,
        epsilon: float,
        num_steps: int,
        preprocessing: Preprocessing,
        device: torch.device,
        autocast_dtype: torch.dtype | None,
    ) -> "Adversary":
        """The adversary of a run whose images are prepared by `preprocessing`; `num_steps` 0 takes the method's
        default.
        """
        shape = (1, preprocessing.channels, *preprocessing.crop_size)
        low = preprocessing.normalize(torch.zeros(shape, dtype=torch.uint8)).to(device)
        high = preprocessing.normalize(torch.full(shape, 255, dtype=torch.uint8)).to(device)
        if preprocessing.mean_image is None:
            low, high = low[..., :1, :1], high[..., :1, :1]
        return cls(method, epsilon, num_steps or DEFAULT_STEPS[method], low, high, autocast_dtype)

    def attacked(self, network: nn.Module, batches: list[Batch], seed: int) -> list[Batch]:
        """The batches to train on in place of these. The network comes back as it was."""
        if self.method == "free":
            raise InputError("free adversarial training makes its batches update by update")
        return [part for batch in batches for part in self._attack(network, batch, seed)]

    def _attack(self, network: nn.Module, batch: Batch, seed: int) -> list[Batch]:
        if self.method == "fgsm":
            return [batch, replace(batch, images=self.climb(network, batch, seed, 1, self.epsilon, is_random=False))]
        if self.method == "fast":
            return [replace(batch, images=self.climb(network, batch, seed, 1, 1.25 * self.epsilon))]
        if self.method == "trades" and batch.share is not None and len(batch.images) != batch.share.total:
            raise InputError("trades works in one process; use --adversarial pgd with several")
        step = 2.5 * self.epsilon / self.num_steps
        if self.method == "pgd":
            return [replace(batch, images=self.climb(network, batch, seed, self.num_steps, step))]
        with evaluating(network), torch.no_grad(), self._autocast(batch.images):
            clean = class_logits(network(batch.images)).float().softmax(dim=1)
        changed = self.climb(network, batch, seed, self.num_steps, step, divergence=clean)
        images, targets = torch.cat([batch.images, changed]), torch.cat([_tensor(batch.targets)] * 2)
        return [replace(batch, images=images, targets=targets, share=None)]

    def climb(
        self,
        network: nn.Module,
        batch: Batch,
        seed: int,
        num_steps: int,
        step_size: float,
        *,
        is_random: bool = True,
        divergence: Tensor | None = None,
    ) -> Tensor:
        """Prepared images (n, C, H, W) after `num_steps` signed steps in the ball; `divergence`: climb that from these
        probabilities.
        """
        span = self.high - self.low
        origins = batch.images.detach()
        radius = self.epsilon * span
        low, high = (
            torch.minimum(origins, self.low),
            torch.maximum(origins, self.high),
        )  # colours may have left the range
        changes = torch.zeros_like(origins)
        if is_random:
            keys = branch(image_keys(origins, seed), 0)
            changes = radius * (2 * uniform(keys, origins.shape[1:]) - 1)
        points = torch.clamp(origins + changes, low, high)
        with evaluating(network):
            for _ in range(num_steps):
                gradients = self._gradients(network, points, _tensor(batch.targets), divergence)
                moved = points + step_size * span * gradients.sign()
                points = torch.clamp(origins + torch.clamp(moved - origins, -radius, radius), low, high)
        return points.detach()

    def _gradients(self, network: nn.Module, points: Tensor, targets: Tensor, divergence: Tensor | None) -> Tensor:
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            with self._autocast(points):
                answer = network(points)
            logits = class_logits(answer).float()
            if divergence is None:
                loss = F.cross_entropy(logits, targets, reduction="sum")
            else:
                loss = F.kl_div(logits.log_softmax(dim=1), divergence, reduction="sum")
            return torch.autograd.grad(loss, points)[0]

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None)

    def free_updates(self, batches: list[Batch], update: Callable[[list[Batch], int], None]) -> None:
        """`update(batches, number)` as often as `num_steps`; what its backward pass leaves in the images' .grad moves
        them.
        """
        changes = [torch.zeros_like(batch.images) for batch in batches]
        span = self.high - self.low
        for number in range(self.num_steps):
            parts = []
            for batch, change in zip(batches, changes, strict=True):
                low, high = torch.minimum(batch.images, self.low), torch.maximum(batch.images, self.high)
                parts.append(replace(batch, images=torch.clamp(batch.images + change, low, high).requires_grad_()))
            update(parts, number)
            for place, part in enumerate(parts):
                gradients = part.images.grad
                if gradients is not None:
                    moved = changes[place] + self.epsilon * span * gradients.sign()
                    changes[place] = torch.clamp(moved, -self.epsilon * span, self.epsilon * span)

    def count_robust(self, network: nn.Module, batch: Batch, seed: int) -> tuple[int, int]:
        """How many images of a labelled batch are named correctly after ten steps, and after a single one."""
        counts = []
        for num_steps, step, is_random in ((_VALIDATION_STEPS, self.epsilon / 4, True), (1, self.epsilon, False)):
            points = self.climb(network, batch, seed, num_steps, step, is_random=is_random)
            with evaluating(network), torch.no_grad(), self._autocast(points):
                hits = class_logits(network(points)).argmax(dim=1) == _tensor(batch.targets)
            counts.append(int(hits.sum()))
        return counts[0], counts[1]


class TradesLoss:
    """The loss of a batch whose second half are the attacked images of the first: equation 5, the mean over the first
    half.
    """

    def __init__(self, inner: Objective) -> None:
        self.inner = inner

    def __call__(self, outputs: Tensor | WithAuxiliary, targets: Targets) -> Tensor:
        """Cross-entropy of the clean half plus six times the divergence of the other from it, nats."""
        logits, labels = class_logits(outputs), _tensor(targets)
        clean, attacked = logits.chunk(2)
        divergence = F.kl_div(attacked.float().log_softmax(dim=1), clean.float().softmax(dim=1), reduction="batchmean")
        return self.inner(clean, labels[: len(clean)]) + TRADES_WEIGHT * divergence

    def weight(self, targets: Targets) -> Tensor | float:
        """That of the clean half."""
        labels = _tensor(targets)
        return self.inner.weight(labels[: len(labels) // 2])

    def score_sum(self, outputs: Tensor | WithAuxiliary, targets: Targets) -> Tensor:
        """That of both halves."""
        return self.inner.score_sum(class_logits(outputs), targets)


def _tensor(targets: Targets) -> Tensor:
    """The targets of a classifier, which are one tensor."""
    assert isinstance(targets, Tensor)
    return targets


def overfits_to_one_step(robust: float, single_step: float, best_robust: float, num_classes: int) -> bool:
    """Whether ten steps undo what a single one does not any more: catastrophic overfitting (arXiv:2001.03994, section
    5.4).

    Accuracies of the validation images now and the best so far, fractions.
    """
    return best_robust > 1.5 / num_classes and robust < 0.5 * best_robust and single_step > robust + 0.2
