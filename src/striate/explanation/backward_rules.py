"""Guided backpropagation and the deconvolutional network: other backward rules for every rectifying activation.

For y = f(x) and the gradient g that arrives at y, a gradient passes f'(x) g. Guided backpropagation passes f'(x) max(g,
0): negative gradients end before each activation (Springenberg et al. 2014, arXiv:1412.6806, section 3.4). The
deconvolutional network passes max(g, 0): the activation's own derivative is replaced (Zeiler & Fergus 2013,
arXiv:1311.2901, section 2.1). For ReLU both are the papers'. For ReLU6, leaky ReLU, SiLU, GELU and the like the papers
say nothing, and f' is taken as it is: SiLU and GELU fall a little below zero before they rise, so that a guided
gradient may change its sign there; the deconvolutional network has a slope of 1 everywhere, where it cannot.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import map_in_parts, run
from striate.explanation.gradients import backward
from striate.explanation.scores import Classes, class_scores
from striate.networks.hooks import ActivationRule, changing_activations

_RECTIFIER_NODES = (
    "Relu", "LeakyRelu", "Prelu", "Rrelu", "Elu", "Celu", "Selu", "Silu", "Gelu", "Mish", "Hardswish", "Softplus",
    "Threshold",
)  # fmt: skip
_OURS = ("_GuidedBackward", "_PassedBackward")


def rectified_gradients(
    network: nn.Module, images: Tensor, classes: Classes, rule: ActivationRule, *, batch_size: int | None = None
) -> Tensor:
    """The gradient of each score by the images where every activation has the backward rule `rule`: (N, C, H, W) -> (N,
    C, H, W).

    Modules, functions, methods and operators are changed alike, reused and in place or not. Raises InputError where no
    rectifying activation runs, so that nothing would change, and where one cannot be seen from Python, naming it.
    """

    def part(some: Tensor, chosen: Any) -> Tensor:
        leaf = some.clone().requires_grad_()
        with changing_activations(network, rule) as seen:
            scores = class_scores(run(network, leaf.clone()), chosen)
        _check_all_seen(network, scores, seen)
        return backward(network, scores, leaf)

    return map_in_parts(network, images, classes, part, batch_size=batch_size)


def guided(activation: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """An activation rule: the gradient is clamped at 0 before it goes through the activation's own derivative."""
    outputs: Tensor = _Guided.apply(inputs, activation)
    return outputs


def passed(activation: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """An activation rule: the gradient is clamped at 0 in place of going through the activation's derivative."""
    outputs: Tensor = _Passed.apply(inputs, activation)
    return outputs


class _Guided(torch.autograd.Function):
    """f(x), with the gradient f'(x) max(g, 0)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            ctx.inputs = inputs.detach().requires_grad_()
            ctx.outputs = activation(ctx.inputs)
        outputs: Tensor = ctx.outputs.detach()
        return outputs.clone()  # the network may go on in place

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (through,) = torch.autograd.grad(ctx.outputs, ctx.inputs, gradients[0].clamp(min=0))
        return through, None


class _Passed(torch.autograd.Function):
    """f(x), with the gradient max(g, 0)."""

    @staticmethod
    def forward(_ctx: Any, inputs: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        return activation(inputs)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].clamp(min=0), None


def _check_all_seen(network: nn.Module, scores: Tensor, seen: list[str]) -> None:
    """Raise InputError where an activation was missed: none was seen, or the graph holds one that was not changed."""
    kind = type(network).__name__
    missed = _missed(scores)
    if missed:
        raise InputError(
            f"{kind} computes {missed} where Python does not see it, so its backward rule cannot be changed; "
            "saliency, grad_cam and occlusion explain it as it is"
        )
    if not seen:
        raise InputError(
            f"{kind} has no activation of ReLU's kind, so there is no backward rule to change; use saliency"
        )


def _missed(scores: Tensor) -> str | None:
    """What in the graph is an activation with its own backward rule, or a function of somebody else's that may hold
    one.
    """
    waiting, known = [scores.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        name = node.name()
        is_foreign = isinstance(node, torch.autograd.function.BackwardCFunction) and name not in _OURS
        if name.startswith(_RECTIFIER_NODES) or is_foreign or "DifferentiableGraph" in name:
            return name.partition("Backward")[0].rpartition("::")[2] or name
        waiting += [source for source, _ in node.next_functions]
    return None
