"""Gradients of the score by the images and by the output of a layer. N images, C channels, H x W pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import map_in_parts, run
from striate.explanation.scores import Classes, class_scores
from striate.networks.hooks import replacing


def input_gradients(
    network: nn.Module,
    images: Tensor,
    classes: Classes,
    *,
    batch_size: int | None = None,
) -> Tensor:
    """The gradient of each image's score by its pixels: images (N, C, H, W) -> (N, C, H, W)."""

    def part(some: Tensor, chosen: Any) -> Tensor:
        return gradients_of_batch(network, some, chosen)

    return map_in_parts(network, images, classes, part, batch_size=batch_size)


def gradients_of_batch(network: nn.Module, images: Tensor, classes: Any) -> Tensor:
    """The same for one batch of a network that is frozen already."""
    leaf = images.clone().requires_grad_()
    scores = class_scores(run(network, leaf.clone()), classes)  # a clone: the network may begin in place
    return backward(network, scores, leaf)


def layer_gradients(network: nn.Module, images: Tensor, classes: Any, layer: str) -> tuple[Tensor, Tensor]:
    """The output of a layer and the gradient of the score by it, for one batch of a frozen network: (n, C', h, w) each.

    Nothing before the layer is part of the graph. Tokens (n, T, D) become maps (n, D, h, w), see `as_maps`. Raises
    InputError for a layer that gives no map, runs several times, or that the score does not depend on.
    """
    found: list[Tensor] = []

    def begin_graph(output: Tensor) -> Tensor:
        if found:
            raise InputError(
                f"{layer} runs several times in {type(network).__name__}; name one call, such as {layer}#1"
            )
        found.append(output.detach().requires_grad_())
        return found[0].clone()

    with replacing(network, {layer: begin_graph}):
        outputs = run(network, images)
    if not found:
        raise InputError(f"{layer} does not run in a forward pass of {type(network).__name__}")
    gradients = backward(network, class_scores(outputs, classes), found[0], layer)
    size = (images.shape[2], images.shape[3])
    return as_maps(found[0].detach(), layer, size), as_maps(gradients, layer, size)


def as_maps(output: Tensor, layer: str, image_size: Sequence[int]) -> Tensor:
    """A layer's output as maps (n, C', h, w): itself, or tokens (n, T, D) on their grid. InputError for an output
    without a map.

    Tokens stand row by row on the grid of the image's aspect, after up to eight that belong to no place, such as a
    class token.
    """
    if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
        return output
    if output.ndim == 3 and (grid := _token_grid(output.shape[1], image_size)):
        rows, columns = grid
        return output[:, -rows * columns :].transpose(1, 2).unflatten(2, grid)
    raise InputError(
        f"{layer} gives {tuple(output.shape)}, which is no map over the image; name a layer whose output is (N, C, h, "
        "w), see striate describe"
    )


def _token_grid(num_tokens: int, image_size: Sequence[int]) -> tuple[int, int] | None:
    """(rows, columns) of the largest grid of the image's aspect that leaves at most eight tokens over."""
    height, width = image_size
    for spare in range(9):
        rows = round(((num_tokens - spare) * height / width) ** 0.5) if num_tokens > spare else 0
        if rows > 1 and (num_tokens - spare) % rows == 0 and rows * width == (num_tokens - spare) // rows * height:
            return rows, (num_tokens - spare) // rows
    return None


def backward(network: nn.Module, scores: Tensor, leaf: Tensor, layer: str | None = None) -> Tensor:
    """The gradient of the sum of the scores by a leaf of the graph; InputError where there is none, or it is not
    finite.
    """
    source = f"layer {layer}" if layer else "the images"
    gradients = None
    if scores.requires_grad:
        (gradients,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
    if gradients is None:
        raise InputError(
            f"no gradient of the score reaches {source} in {type(network).__name__}: it is quantised, detached or "
            "answers with whole numbers; occlusion, score_cam and lime need none"
        )
    if not gradients.isfinite().all():
        raise InputError(
            f"the gradient of the score by {source} is NaN or infinite in {type(network).__name__}; its weights may be "
            "damaged, or 16-bit numbers overflow: try network.float()"
        )
    return gradients.detach()
