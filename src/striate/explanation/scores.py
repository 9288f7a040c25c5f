"""The score that is explained: the unnormalised logit of a class, or whatever a function makes of the output. N images,
K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary

Classes: TypeAlias = int | Sequence[int] | Tensor | Callable[[Any], Tensor]
"""One class for all images, one for each image (N,), or a function from the network's output to one score an image
(N,).
"""


def check_classes(classes: Classes, num_images: int) -> Tensor | Callable[[Any], Tensor]:
    """Classes as labels (N,) int64, or the function itself. InputError where their number is not that of the images."""
    if callable(classes) and not isinstance(classes, Tensor):
        return classes
    labels = torch.as_tensor(classes).clone()
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(
            f"classes must be whole numbers but are {labels.dtype}; give the index of a class for each image"
        )
    labels = labels.to(torch.int64).expand(num_images) if labels.ndim == 0 else labels.to(torch.int64)
    if labels.shape != (num_images,):
        raise InputError(
            f"expected one class for each of {num_images} images but got {tuple(labels.shape)}; give one class for "
            f"all, or ({num_images},)"
        )
    return labels


def class_scores(outputs: Any, classes: Tensor | Callable[[Any], Tensor]) -> Tensor:
    """Scores (N,) of what the network gave: logits (N, K), or (N, K, 1, 1), of classes (N,); or what the function
    `classes` gives.

    A single output (N, 1) is the logit z of the second of two classes; the first one's score is -z. Raises InputError
    for outputs of another kind (a tuple, a dictionary, a map), which need a function, and for classes that are none.
    """
    if not isinstance(classes, Tensor):
        return _checked_scores(classes(outputs))
    logits = logits_of(outputs)
    num_classes = logits.shape[1]
    labels = classes.to(logits.device)
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = next(k for k in labels.tolist() if not 0 <= k < num_classes)
        raise InputError(f"class {wrong} is none of the network's: they go from 0 to {num_classes - 1}")
    return _checked_scores(logits.gather(1, labels[:, None])[:, 0])


def logits_of(outputs: Any) -> Tensor:
    """Logits (N, K), K >= 2, of what a classifier gave. InputError for outputs of another kind."""
    logits = outputs.logits if isinstance(outputs, WithAuxiliary) else outputs
    if isinstance(logits, Tensor) and logits.ndim == 4 and logits.shape[2:] == (1, 1):
        logits = logits.flatten(1)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"{tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise InputError(
            f"expected logits (N, K) but the network gives {found}; give as classes a function from that to one score "
            "an image, such as lambda outputs: outputs[0][:, 3]"
        )
    return F.pad(logits, (1, 0)) - F.pad(logits, (0, 1)) if logits.shape[1] == 1 else logits


def _checked_scores(scores: Any) -> Tensor:
    if not isinstance(scores, Tensor) or scores.ndim != 1:
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"the function given as classes must give one score an image, (N,), but gives {found}")
    if not scores.isfinite().all():
        raise InputError(
            "a score is NaN or infinite; the network's weights or the images may be damaged, or 16-bit numbers overflow"
        )
    return scores
