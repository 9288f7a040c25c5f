"""Attack a model on the images of a source: the right images, labels by name, one attack or a suite, figures. N
images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.opening import Access
from striate.data.sampling import read_batch
from striate.errors import DataError, InputError
from striate.evaluation.evaluate_model import Part, choose_part
from striate.robustness.attacked import Callee
from striate.robustness.clean import clean_outputs
from striate.robustness.criteria import UNTARGETED, Criterion, Targeted, least_likely
from striate.robustness.curve import accuracy_curve
from striate.robustness.doubts import doubts
from striate.robustness.draws import image_keys, integers
from striate.robustness.methods import METHODS, Method
from striate.robustness.norms import LINF, NORMS, find_norm
from striate.robustness.outcome import AttackOutcome, classes_of, figures_of
from striate.robustness.request import check_epsilon
from striate.robustness.saving import save_adversarials
from striate.robustness.suite import SUITES, PlannedAttack, attack_chunks, attack_in_turn
from striate.robustness.transfer import Fused, Resized, Through, class_order
from striate.robustness.victim import Victim, open_victim, victim_of
from striate.tasks.model import Model


@dataclass(frozen=True)
class AttackRequest:
    """What to attack with. Either `method` with its options, or `suite`; None leaves an option at the attack's default.

    `target`: a class by name, `least_likely` or `random`; None for any class but the label.
    """

    method: str = "pgd"
    suite: str | None = None
    norm: str = LINF.name
    epsilon: float = 8 / 255
    num_steps: int | None = None
    step_size: float | None = None
    num_restarts: int | None = None
    target: str | None = None
    seed: int = 0

    def plan(self) -> tuple[PlannedAttack, ...]:
        """The attacks in turn; InputError for an option that the method does not take."""
        if self.suite is not None:
            if self.suite not in SUITES:
                raise InputError(f"suite must be one of {', '.join(SUITES)} but is {self.suite!r}")
            if self.norm not in METHODS["apgd_ce"].norms:
                raise InputError(f"a suite measures by linf, l2 or l1, not {self.norm}")
            seeded = (("seed", self.seed),)
            return tuple(
                PlannedAttack(each.method, each.options + (seeded if "seed" in METHODS[each.method].options else ()))
                for each in SUITES[self.suite]
            )
        method = METHODS.find(self.method)
        if self.norm not in method.norms:
            raise InputError(f"{method.name} measures by {' or '.join(method.norms)}, not {self.norm}")
        return (PlannedAttack(method.name, tuple(self._options(method).items())),)

    def _options(self, method: Method) -> dict[str, Any]:
        given = {"num_steps": self.num_steps, "step_size": self.step_size, "num_restarts": self.num_restarts}
        wanted = {name: value for name, value in given.items() if value is not None}
        for name in wanted:
            if name not in method.options:
                flag = "--" + name.removeprefix("num_").replace("_", "-")
                raise InputError(f"{method.name} takes no {flag}; it takes {_flags(method)}")
        if self.target is not None and not method.takes_targets:
            raise InputError(f"{method.name} takes no --target; pgd, apgd_targeted and carlini_wagner do")
        return wanted | ({"seed": self.seed} if "seed" in method.options else {})


def attack(
    model: Victim | Model | str | Path,
    source: str | Path | None = None,
    request: AttackRequest | None = None,
    *,
    split: str | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    with_checks: bool = True,
    with_curve: bool = False,
    save_to: str | Path | None = None,
    through: Sequence[Model | str | Path] = (),
    access: Access | None = None,
) -> AttackOutcome:
    """Attack a model, or what `load_model` takes for one, on images of a source, by default those it was trained on.

    `limit` draws so many images by the seed. Only images that are named correctly are attacked; the others count as
    lost. `with_checks` looks for masked gradients, `with_curve` measures accuracy against epsilon, `save_to` names a
    folder for the images. `through`: the images are made on these other models, fused where there are several, and
    tried on this one, which is only asked.
    Raises InputError for what cannot be attacked so, DataError as `evaluate` does.

    `request` says which attacks, norm, epsilon (of pixels in [0, 1]) and target; without one PGD of forty steps at
    8/255.
    """
    access, request = access or Access(), request or AttackRequest()
    victim: Victim = model if isinstance(model, Victim) else _open(model, access)
    model = victim.model
    check_epsilon(request.epsilon, request.norm)
    request.plan()
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    indices = choose_images(part, limit, request.seed)
    images, labels = read_images(model, part, indices)
    network = victim.network
    names = tuple(part.dataset.images.name(int(index)) for index in indices)
    images, labels = images.to(model.device), labels.to(model.device)
    outcome = attack_images(
        network,
        images,
        labels,
        request,
        class_names=model.class_names,
        names=names,
        source=part.dataset.source,
        split=part.split,
        batch_size=batch_size,
        substitute=_fused(model, through, access) if through else None,
        access=access,
    )
    was_correct = outcome.was_correct.to(model.device)
    shared: dict[str, Any] = {"epsilon": request.epsilon, "norm": request.norm, "seed": request.seed}
    if request.norm in NORMS and math.isfinite(request.epsilon):
        if with_checks:
            outcome = replace(outcome, warnings=doubts(network, images, labels, was_correct, **shared))
        if with_curve:
            curve = accuracy_curve(network, images, labels, was_correct, track=access.track, **shared)
            outcome = replace(outcome, curve=curve)
    return outcome if save_to is None else save_adversarials(outcome, network, save_to)


def attack_images(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    request: AttackRequest,
    *,
    class_names: tuple[str, ...],
    names: tuple[str, ...] = (),
    source: str = "",
    split: str = "",
    batch_size: int | None = None,
    substitute: nn.Module | None = None,
    access: Access | None = None,
) -> AttackOutcome:
    """The same for images (N, C, H, W) in [0, 1] and labels (N,) at hand, and any network from pixels to logits (N,
    K).
    """
    access = access or Access()
    outputs = clean_outputs(network, images)
    was_correct = ~UNTARGETED.is_met(outputs, labels)
    criterion = choose_criterion(request.target, outputs, labels, images, class_names, request.seed)
    if isinstance(criterion, Targeted):
        reached = criterion.is_met(outputs, labels)
        access.log(f"robust means here: not taken for the target; {int(reached.sum())} of {len(images)} were before")
    result = attack_in_turn(
        network,
        images,
        labels,
        request.plan(),
        outputs,
        was_correct,
        epsilon=request.epsilon,
        norm=find_norm(request.norm),
        criterion=criterion,
        batch_size=batch_size,
        track=access.track,
        attack=attack_chunks if substitute is None else Through(substitute),
    )
    return AttackOutcome(
        source=source,
        split=split,
        names=names or tuple(str(number) for number in range(len(images))),
        class_names=class_names,
        labels=labels.cpu(),
        norm=request.norm,
        epsilon=request.epsilon,
        target=request.target,
        originals=images.cpu(),
        images=result.images.cpu(),
        was_correct=was_correct.cpu(),
        is_robust=result.is_robust.cpu(),
        before=classes_of(outputs),
        after=classes_of(result.outputs),
        sizes=result.sizes.cpu(),
        attacks=tuple(figures_of(each, stands) for each, stands in result.attacks),
    )


def _open(model: Model | str | Path, access: Access) -> Victim:
    return victim_of(model) if isinstance(model, Model) else open_victim(model, log=access.log)


def _fused(model: Model, others: Sequence[Model | str | Path], access: Access) -> nn.Module:
    """The substitutes as one network whose classes are the model's. InputError where images or classes are others."""
    networks = []
    for other in others:
        seen = seen_as(model, _open(other, access), str(other))
        if not isinstance(seen, nn.Module):
            raise InputError(
                f"{other} gives no gradients, so nothing can be attacked through it; give a model of striate's"
            )
        networks.append(seen)
    own_order = torch.arange(len(model.class_names))
    return networks[0] if len(networks) == 1 else Fused(networks, [own_order] * len(networks))


def seen_as(model: Model, other: Victim, name: str) -> Callee:
    """The other network as one that sees the images of `model`, pixels in [0, 1], and answers in the order of its
    classes.

    `name` is the other's in errors. InputError where it sees other channels, lacks a class, or only answers and sees
    another size.
    """
    theirs, ours = other.model.preprocessing, model.preprocessing
    if theirs.channels != ours.channels:
        raise InputError(
            f"{name} sees {theirs.channels} channels, the other model {ours.channels}; name models of as many"
        )
    order = class_order(model.class_names, other.model.class_names)
    if not isinstance(other.network, nn.Module):
        if theirs.crop_size != ours.crop_size or other.model.class_names != model.class_names:
            raise InputError(
                f"{name} only answers, so it must see the size of image and name the classes that the other does"
            )
        return other.network
    network = other.network if theirs.crop_size == ours.crop_size else Resized(other.network, theirs.crop_size)
    return Fused([network.to(model.device)], [order.to(model.device)])


def choose_criterion(
    target: str | None, outputs: Tensor, labels: Tensor, images: Tensor, class_names: tuple[str, ...], seed: int
) -> Criterion:
    """Any other class, or for each image the target that the words name.

    An image of the target class itself keeps its place and is given the next class, so that no target is a label.
    """
    if target is None:
        return UNTARGETED
    num_classes = outputs.shape[1]
    if target == "least_likely":
        ranked = outputs.scatter(1, labels[:, None], torch.inf)  # never the label itself
        return Targeted(least_likely(ranked))
    if target == "random":
        return Targeted((labels + 1 + integers(image_keys(images, seed), num_classes - 1)) % num_classes)
    if target not in class_names:
        shown = ", ".join(class_names[:5]) + (" ..." if len(class_names) > 5 else "")
        raise InputError(f"target must be least_likely, random or a class of the model ({shown}) but is {target!r}")
    chosen = class_names.index(target)
    if bool((labels == chosen).all()):
        raise InputError(f"every image is labelled {target!r}, which is the target; choose another")
    return Targeted(torch.where(labels == chosen, (labels + 1) % num_classes, chosen))


def choose_images(part: Part, limit: int | None, seed: int) -> np.ndarray:
    """Indices of readable images of the part, `limit` of them drawn by the seed, in order."""
    indices = np.asarray(part.indices)[part.packed.usable[part.indices]]
    if not len(indices):
        raise DataError(f"{part.dataset.source} has no readable image in its {part.split} part; name another")
    if limit is not None and limit < len(indices):
        indices = np.sort(np.random.default_rng(seed).permutation(indices)[:limit])
    return indices


def read_images(model: Model, part: Part, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pixels (N, C, H, W) float32 in [0, 1] as the model sees them, and labels (N,)."""
    pixels = read_batch(part.packed, indices, model.preprocessing.crop_size)
    labels = torch.from_numpy(part.labels[indices])
    if int(labels.min()) < 0:
        raise DataError("some images have no label that the model knows; attack a part whose images all have one")
    return pixels.float() / 255, labels


def _flags(method: Method) -> str:
    flags = ["--" + name.removeprefix("num_").replace("_", "-") for name in method.options if name != "num_targets"]
    return ", ".join(flags) or "only --epsilon and --norm"
