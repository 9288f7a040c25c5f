"""Attack one model through others: what fools the substitutes is tried on the target. N images, M models.

Papernot, McDaniel & Goodfellow 2016 (arXiv:1605.07277); several substitutes fused in their logits as Dong et al. 2018
(arXiv:1710.06081, section 3.3) do.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.progress import Track, track_silently
from striate.robustness.adversarials import Adversarials
from striate.robustness.attacked import Callee
from striate.robustness.clean import clean_outputs
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.methods import METHODS
from striate.robustness.norms import LINF
from striate.robustness.suite import Options, attack_chunks


class Fused(nn.Module):
    """Several networks as one: the mean of their logits, each with its classes in the target's order.

    `orders[i]` (K,) says which output of network i each class of the target is.
    """

    def __init__(self, networks: Sequence[nn.Module], orders: Sequence[Tensor]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.orders = tuple(orders)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> logits (N, K)."""
        logits = [network(images)[:, order] for network, order in zip(self.networks, self.orders, strict=True)]
        return torch.stack(logits).mean(dim=0)


class Resized(nn.Module):
    """A network that sees images of another size, behind bilinear resizing to its own (height, width)."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of any size -> logits (N, K)."""
        resized = F.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        logits: Tensor = self.network(resized.clamp(0, 1))
        return logits


def class_order(names: Sequence[str], own_names: Sequence[str]) -> Tensor:
    """Which of `own_names` each of `names` is, (K,) int64; InputError for a class that is lacking."""
    lacking = [name for name in names if name not in own_names]
    if lacking:
        raise InputError(
            f"the substitute does not know the class {lacking[0]!r}; attack through a model of the same classes"
        )
    return torch.tensor([list(own_names).index(name) for name in names])


class Through:
    """Runs attacks on a substitute, every step taken, and says what the target makes of their images."""

    def __init__(self, substitute: nn.Module) -> None:
        self.substitute = substitute

    def __call__(
        self,
        method: str,
        network: Callee,
        images: Tensor,
        labels: Tensor,
        options: Options,
        *,
        track: Track = track_silently,
        batch_size: int | None = None,
    ) -> Adversarials:
        """The result is the target `network`'s: `is_adversarial`, `was_met` and outputs (N, K). images (N, C, H, W),
        labels (N,).
        """
        wanted = dict(options)
        if "stop_early" in inspect.signature(METHODS.find(method).load()).parameters:
            wanted["stop_early"] = False  # an image deep in the other class transfers better than one on the boundary
        made = attack_chunks(method, self.substitute, images, labels, wanted, track=track, batch_size=batch_size)
        criterion: Criterion = options.get("criterion", UNTARGETED)
        before, after = clean_outputs(network, images), clean_outputs(network, made.images)
        return replace(
            made,
            is_adversarial=criterion.is_met(after, labels),
            was_met=criterion.is_met(before, labels),
            outputs_before=before,
            outputs=after,
        )


def transfer_matrix(
    sources: Mapping[str, nn.Module],
    targets: Mapping[str, Callee],
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    method: str = "mi_fgsm",
    norm: str = LINF.name,
    **options: Any,
) -> Tensor:
    """Who fools whom: the fraction of each target's correct answers that images made on each source undo, (sources,
    targets).

    images (N, C, H, W) in [0, 1], labels (N,). A target may be any function of images to outputs (N, K); a source needs
    gradients.
    """
    rows = []
    for source in sources.values():
        function = METHODS.find(method).load()
        made = function(source, images, labels, epsilon=epsilon, norm=norm, stop_early=False, **options)
        row = []
        for target in targets.values():
            correct = ~UNTARGETED.is_met(clean_outputs(target, images), labels)
            fooled = UNTARGETED.is_met(clean_outputs(target, made.images), labels)
            row.append((fooled & correct).sum().item() / max(1, int(correct.sum())))
        rows.append(row)
    return torch.tensor(rows)
