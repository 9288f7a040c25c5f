"""Several attacks in turn, each on the images that still stand. N images.

`standard` is AutoAttack (Croce & Hein 2020, arXiv:2003.01690, section 5 and the authors' "standard" version): APGD on
the cross-entropy, APGD towards nine other classes on the DLR loss, FAB towards nine other classes, Square with 5,000
queries. `quick` is a fifth of its first two, an upper bound of robust accuracy in a minute rather than an evaluation to
publish.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from striate.errors import InputError
from striate.progress import Track, track_silently
from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import default_batch_size
from striate.robustness.attacked import Callee
from striate.robustness.methods import METHODS

Options = dict[str, Any]


class RunAttack(Protocol):
    """Runs one attack by name on images (n, C, H, W) with labels (n,), as `attack_chunks` does."""

    def __call__(
        self,
        method: str,
        network: Callee,
        images: Tensor,
        labels: Tensor,
        options: Options,
        *,
        track: Track = ...,
        batch_size: int | None = ...,
    ) -> Adversarials: ...


@dataclass(frozen=True)
class PlannedAttack:
    """One attack of a suite: its method and what it is asked beyond epsilon and norm."""

    method: str
    options: tuple[tuple[str, Any], ...] = ()


SUITES: dict[str, tuple[PlannedAttack, ...]] = {
    "quick": (
        PlannedAttack("apgd_ce", (("num_steps", 20),)),
        PlannedAttack("apgd_targeted", (("num_steps", 20), ("num_targets", 3))),
    ),
    "standard": (
        PlannedAttack("apgd_ce", (("num_steps", 100),)),
        PlannedAttack("apgd_targeted", (("num_steps", 100), ("num_targets", 9))),
        PlannedAttack("fab_targeted", (("num_steps", 100), ("num_targets", 9))),
        PlannedAttack("square", (("num_steps", 5000),)),
    ),
}
"""The suites by name."""


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """What a suite left: the images as changed (N, C, H, W), whether each still stands (N,), outputs (N, K), sizes
    (N,).
    """

    images: Tensor
    is_robust: Tensor
    outputs: Tensor
    sizes: Tensor
    attacks: tuple[tuple[Adversarials, Tensor], ...]


def attack_in_turn(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    plan: Iterable[PlannedAttack],
    outputs: Tensor,
    was_correct: Tensor,
    *,
    track: Track = track_silently,
    batch_size: int | None = None,
    attack: "RunAttack | None" = None,
    **common: Any,
) -> SuiteResult:
    """Each attack of `plan` on the images that are still named correctly, N in all.

    `common` are the arguments of every attack: epsilon, norm, criterion. `attacks` pairs the result of each with what
    stood after it, (N,) bool. `attack` runs each in another way than `attack_chunks`.
    """
    results, after = images.clone(), outputs.clone()
    sizes = torch.zeros(len(images), device=images.device)
    stands = was_correct.clone()
    done = []
    criterion = common.pop("criterion", None)
    for planned in plan:
        rows = stands.nonzero()[:, 0]
        if not len(rows):
            break
        wanted = dict(common) | dict(planned.options)
        if criterion is not None:
            wanted["criterion"] = criterion.take(rows)
        result = (attack or attack_chunks)(
            planned.method, network, images[rows], labels[rows], wanted, track=track, batch_size=batch_size
        )
        fooled = rows[result.is_adversarial]
        results[fooled] = result.images[result.is_adversarial]
        after[fooled] = result.outputs[result.is_adversarial]
        sizes[fooled] = result.sizes[result.is_adversarial]
        stands = stands.clone()
        stands[fooled] = False
        done.append((result, stands))
    return SuiteResult(results, stands, after, sizes, tuple(done))


def attack_chunks(
    method: str,
    network: Callee,
    images: Tensor,
    labels: Tensor,
    options: Options,
    *,
    track: Track = track_silently,
    batch_size: int | None = None,
) -> Adversarials:
    """One attack, batch after batch so that progress can be shown; results as one. Images draw the same numbers in any
    batch.
    """
    function = METHODS.find(method).load()
    size = batch_size or default_batch_size(images)
    starts = range(0, len(images), size)
    criterion = options.get("criterion")
    parts = []
    for start in track(starts, f"attacking by {method}", len(starts)):
        rows = torch.arange(start, min(start + size, len(images)), device=images.device)
        own = options if criterion is None else options | {"criterion": criterion.take(rows)}
        parts.append(function(network, images[rows], labels[rows], batch_size=size, **own))
    return join(parts)


def join(parts: list[Adversarials]) -> Adversarials:
    """Results of one attack on several batches, as of one."""
    if not parts:
        raise InputError("there are no images to attack; give at least one")
    tensors: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("images", "is_adversarial", "was_met", "sizes", "outputs_before", "outputs")
    }
    return replace(
        parts[0],
        **tensors,
        num_queries=sum(part.num_queries for part in parts),
        elapsed_s=sum(part.elapsed_s for part in parts),
    )
