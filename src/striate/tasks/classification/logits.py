"""One of K classes for a whole image: its loss and how the answer is read. N images, K classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.networks.auxiliary import WithAuxiliary


def class_logits(answer: Tensor | WithAuxiliary) -> Tensor:
    """Convert any classifier's output to logits (N, K): those of its last head.

    A single output (N, 1) is the logit z of the second of two classes. It becomes (0, z): the softmax of that is
    (1 - sigmoid(z), sigmoid(z)) and its cross-entropy the binary one.
    """
    logits = answer.logits if isinstance(answer, WithAuxiliary) else answer
    return F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits


def class_probabilities(answer: Tensor | WithAuxiliary, temperature: float = 1.0) -> Tensor:
    """Probabilities (N, K) float32: the softmax of the logits by the temperature (Guo et al. 2017, arXiv:1706.04599,
    eq. 9).

    Above 1 the answers are less sure, below 1 surer; which class is the most probable does not change.
    """
    logits = class_logits(answer).to(torch.float32)
    return (logits if temperature == 1 else logits / temperature).softmax(dim=1)


class Tempered(nn.Module):
    """A network that answers with its logits divided by a temperature: images (N, C, H, W) -> logits (N, K) float32."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Images as the network wants them -> logits of `class_probabilities`."""
        return class_logits(self.network(images)).to(torch.float32) / self.temperature


def tempered(network: nn.Module, temperature: float) -> nn.Module:
    """The network itself at temperature 1."""
    return network if temperature == 1 else Tempered(network, temperature)


def classification_loss(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy in nats, a scalar: logits (N, K), targets (N,) labels or (N, K) shares that sum to 1 (mixup).

    Smoothing takes the share `label_smoothing` from every target and spreads it evenly (arXiv:1512.00567, section 7).
    `class_weights` (K,) weigh each class, and the mean is over weights, so that equal weights change nothing; labels
    and their one-hot shares give the same.
    """
    if not targets.is_floating_point():
        return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)
    targets = targets.to(logits.dtype)
    total = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum")
    # torch divides soft targets by N whatever the weights; by the weights themselves is what it does for labels
    return total / (len(targets) if class_weights is None else (targets @ class_weights.to(targets.dtype)).sum())


def balanced_class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Weights (K,) that give every class present the same say, with mean 1 over the images; 0 for absent classes."""
    counts = torch.bincount(labels, minlength=num_classes).to(torch.float32)
    num_present = (counts > 0).sum()
    return torch.where(counts > 0, len(labels) / (num_present * counts.clamp(min=1)), 0.0)


def top_classes(probabilities: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The `top` most probable classes of each image, best first: (N, K) -> probabilities and class indices, each (N,
    min(top, K)).

    Of equally probable classes the one with the lower index comes first, on every device.
    """
    ordered, indices = probabilities.sort(dim=1, descending=True, stable=True)
    return ordered[:, :top], indices[:, :top]


def rank_of_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank of the correct class, (N,) int64: 0 is a top-1 hit. Ties as in `top_classes`."""
    own = logits.gather(1, labels[:, None])  # (N, 1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    return before.sum(dim=1)


def first_best(logits: Tensor) -> Tensor:
    """The most probable class of each image, (N,) int64: of equal ones the first, which argmax does not promise."""
    best = logits == logits.amax(dim=1, keepdim=True)
    return torch.where(best, torch.arange(logits.shape[1], device=logits.device), logits.shape[1]).amin(dim=1)
