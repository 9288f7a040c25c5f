"""Is a backward pass right? The analytic gradient against the numerical one, (f(x + h) - f(x - h)) / 2h.

Slow and nearly exact against fast and perhaps wrong: everything is computed in float64 on a copy, one number nudged at
a time. torch.autograd.gradcheck compares whole Jacobians and says yes or no; this one names the worst parameter.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError

STEP = 1e-5
SMALLER_STEPS = (1, 1e-1, 1e-2)
"""Steps that are tried in turn, relative to the first, while an error exceeds KINK: a kink between x - h and x + h is
left behind by a smaller step, a wrong gradient is not."""
KINK = 1e-4
NOISE = 10
"""Differences below so many roundings of f, divided by the step, are the arithmetic's and no error of the gradient."""


@dataclass(frozen=True)
class TensorGradient:
    """The entry of one tensor whose two gradients differ most.

    `name` is as in `named_parameters`, or "input 0" for the first argument; `index` is the entry's place in it,
    `num_checked` how many of its entries were tried. `relative_error` is |numerical - analytic| / max of the two
    absolute values, so from 0 to 2.
    """

    name: str
    index: tuple[int, ...]
    numerical: float
    analytic: float
    relative_error: float
    num_checked: int


@dataclass(frozen=True)
class GradientCheck:
    """Results for every tensor that takes a gradient: parameters first, then inputs.

    Rules of thumb for `worst.relative_error`: above 1e-2 the gradient is wrong; up to 1e-4 can be right where there
    are kinks, such as a ReLU's; below 1e-7 it is right.
    """

    tensors: tuple[TensorGradient, ...]

    @property
    def worst(self) -> TensorGradient:
        """The tensor with the largest relative error."""
        return max(self.tensors, key=lambda tensor: tensor.relative_error)


def check_gradients(
    function: nn.Module | Callable[..., Tensor],
    *inputs: Tensor,
    step: float = STEP,
    max_entries: int = 20,
    seed: int = 0,
) -> GradientCheck:
    """The gradients of `function(*inputs)` by every parameter of a module, and by every floating-point input.

    Outputs are weighed by fixed random numbers and summed, so that no error hides behind symmetry. Of each tensor up to
    `max_entries` entries are nudged, drawn by `seed`. Functions that draw random numbers, such as dropout, draw the
    same ones each time. A module's copy is tried in the mode that it is in; the module itself and torch's generators
    are left as they are. InputError where nothing takes a gradient.
    """
    module = copy.deepcopy(function).double() if isinstance(function, nn.Module) else function
    arguments = [tensor.detach().double() if tensor.is_floating_point() else tensor for tensor in inputs]
    checked = _checked_tensors(module, arguments)
    if not checked:
        raise InputError("nothing here takes a gradient: no parameter that requires one and no floating-point input")
    generator = torch.Generator().manual_seed(seed)
    weights: list[Tensor] = []

    def evaluate() -> Tensor:
        with _same_randomness(seed):
            outputs = module(*arguments)
        if not weights:
            weights.append(torch.randn(outputs.shape, dtype=torch.float64, generator=generator).to(outputs.device))
        return (outputs * weights[0]).sum()

    with torch.enable_grad():
        value = evaluate()
        found = torch.autograd.grad(value, list(checked.values()), allow_unused=True)
    rounding = NOISE * torch.finfo(torch.float64).eps * max(1.0, abs(value.item()))
    with torch.no_grad():
        return GradientCheck(
            tuple(
                _check_tensor(name, tensor, gradient, evaluate, step, rounding, _choose(tensor, max_entries, generator))
                for (name, tensor), gradient in zip(checked.items(), found, strict=True)
            )
        )


def relative_error(numerical: float, analytic: float, *, noise: float = 0.0) -> float:
    """|numerical - analytic| / max(|numerical|, |analytic|), and 0 where they differ by no more than `noise`."""
    difference = abs(numerical - analytic)
    return 0.0 if difference <= noise else difference / max(abs(numerical), abs(analytic))


def _checked_tensors(module: nn.Module | Callable[..., Tensor], arguments: list[Tensor]) -> dict[str, Tensor]:
    named = module.named_parameters() if isinstance(module, nn.Module) else ()
    checked: dict[str, Tensor] = {name: param for name, param in named if param.requires_grad and param.numel()}
    for place, tensor in enumerate(arguments):
        if tensor.is_floating_point() and tensor.numel():
            checked[f"input {place}"] = tensor.requires_grad_()
    return checked


def _choose(tensor: Tensor, max_entries: int, generator: torch.Generator) -> list[int]:
    return sorted(torch.randperm(tensor.numel(), generator=generator)[:max_entries].tolist())


def _check_tensor(
    name: str,
    tensor: Tensor,
    gradient: Tensor | None,
    evaluate: Callable[[], Tensor],
    step: float,
    rounding: float,
    chosen: list[int],
) -> TensorGradient:
    """The worst of the chosen entries; a tensor that is never used has the gradient 0."""
    worst: TensorGradient | None = None
    for number in chosen:
        index = tuple(int(part) for part in torch.unravel_index(torch.tensor(number), tensor.shape))
        analytic = 0.0 if gradient is None else gradient[index].item()
        for factor in SMALLER_STEPS:
            numerical = _slope(tensor, index, evaluate, step * factor)
            error = relative_error(numerical, analytic, noise=rounding / (step * factor))
            if error <= KINK:
                break
        if worst is None or error > worst.relative_error:
            worst = TensorGradient(name, index, numerical, analytic, error, len(chosen))
    assert worst is not None  # tensors without entries were left out
    return worst


def _slope(tensor: Tensor, index: tuple[int, ...], evaluate: Callable[[], Tensor], step: float) -> float:
    """Nudge one entry up and down and put it back."""
    before = tensor[index].item()
    tensor[index] = before + step
    above = evaluate().item()
    tensor[index] = before - step
    below = evaluate().item()
    tensor[index] = before
    return (above - below) / (2 * step)


@contextmanager
def _same_randomness(seed: int) -> Iterator[None]:
    """Torch's global generators start from `seed` and are afterwards where they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
