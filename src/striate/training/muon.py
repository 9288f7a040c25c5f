"""Muon: momentum whose updates are made orthogonal, for the matrices and filter banks inside a network (Jordan et al.
2024, "Muon: an optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon).

R rows and C columns of a matrix; a filter bank (out, in, height, width) is the matrix with R = out and C = in * height
* width. The momentum of a matrix, U S V' by its singular values, becomes about U V': every direction that it speaks of
moves equally far. What is no such matrix (biases, norms, the head) is trained by SGD with the same Nesterov momentum,
as in the CIFAR-10 speed run that Muon was found with.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.sgd import sgd

from striate.training.distributed.fsdp import laid_out_like, whole
from striate.training.precision import has_fast_bf16

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of x, x**3 and x**5: the steepest at 0 of the quintics that keep singular values near 1."""
NUM_ITERATIONS = 3
"""Enough for convolutions, as in the speed run; language models take 5."""
TINY = 1e-7


class Muon(Optimizer):
    """Parameter groups with "is_orthogonal" hold matrices or filter banks and get orthogonal updates, the others SGD's.

    An orthogonal update has singular values near 1, times the group's rate, times sqrt(R / C) where R > C. Such a
    group's "weight_decay" shrinks weights by the rate times the decay; SGD's is added to the gradient, as PyTorch has
    it. `use_unit_filters` rescales each orthogonal group's matrix to the norm sqrt(R), filters of norm 1 on average,
    before every update: the rate is then the share by which weights change. It is meant for layers with a norm behind
    them, for which their weights' scale means nothing. `use_fused` takes PyTorch's single-kernel SGD; then `found_inf`,
    a tensor on the device, holds updates off where it is 1, as it does in PyTorch's fused optimisers.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float,
        use_unit_filters: bool = False,
        num_iterations: int = NUM_ITERATIONS,
        use_fused: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": 0.0,
            "is_orthogonal": False,
            "use_unit_filters": use_unit_filters,
            "num_iterations": num_iterations,
            "use_fused": use_fused,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; the device is not waited for."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            grads = {param: param.grad for param in group["params"] if param.grad is not None}
            if grads and group["is_orthogonal"]:
                self._step_orthogonally(group, grads)
            elif grads:
                self._step_plainly(group, grads)
        return loss

    def _step_orthogonally(self, group: dict[str, Any], grads: dict[Tensor, Tensor]) -> None:
        momentum, rate = group["momentum"], group["lr"]
        directions = []
        for param, grad in grads.items():
            buffer = self._momentum_of(param).mul_(momentum).add_(grad)
            directions.append(whole(grad.add(buffer, alpha=momentum)))
        for param, update in zip(grads, orthogonalized(directions, group["num_iterations"]), strict=True):
            num_rows, num_columns = update.shape[0], update[0].numel()
            if group["use_unit_filters"]:
                param.mul_(self._unless_held(num_rows**0.5 / (torch.linalg.vector_norm(whole(param)) + TINY), 1.0))
            if group["weight_decay"] > 0:
                decay = rate * group["weight_decay"]
                param.mul_(1 - (decay if self.found_inf is None else decay * (1 - self.found_inf)))
            step_size = rate * max(1.0, num_rows / num_columns) ** 0.5
            param.add_(laid_out_like(param, self._unless_held(update, 0.0)), alpha=-step_size)

    def _step_plainly(self, group: dict[str, Any], grads: dict[Tensor, Tensor]) -> None:
        sgd(
            list(grads),
            list(grads.values()),
            [self._momentum_of(param) for param in grads],
            foreach=not group["use_fused"],
            fused=group["use_fused"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["momentum"] > 0,
            maximize=False,
            found_inf=self.found_inf if group["use_fused"] else None,
        )

    def _unless_held(self, value: Tensor, otherwise: float) -> Tensor:
        """The value, or the other number where `found_inf` holds the update off."""
        return value if self.found_inf is None else torch.where(self.found_inf > 0, otherwise, value)

    def _momentum_of(self, param: Tensor) -> Tensor:
        """The sum of past gradients, each weighed down by the momentum at every step; zero at first."""
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonalized(matrices: Sequence[Tensor], num_iterations: int = NUM_ITERATIONS) -> list[Tensor]:
    """Each matrix (R, C), or bank (R, ...), with its singular vectors and singular values near 1, roughly 0.3 to 1.3; 0
    stays 0.

    The quintic Newton-Schulz iteration, in bfloat16 for float32 where the device multiplies it natively. The smaller a
    singular value is beside the norm of all, the more iterations it takes to come near 1. Matrices of one shape are
    computed together.
    """
    by_shape: dict[torch.Size, list[int]] = {}
    for place, matrix in enumerate(matrices):
        by_shape.setdefault(matrix.shape, []).append(place)
    results: dict[int, Tensor] = {}
    for places in by_shape.values():
        stack = torch.stack([matrices[place] for place in places])
        updates = _orthogonalize(stack.flatten(2), num_iterations).reshape(stack.shape)
        results |= zip(places, updates, strict=True)
    return [results[place] for place in range(len(matrices))]


def _orthogonalize(matrices: Tensor, num_iterations: int) -> Tensor:
    """The same of a stack of matrices, (n, R, C) -> (n, R, C)."""
    if matrices.shape[1] > matrices.shape[2]:
        return _orthogonalize(matrices.mT, num_iterations).mT
    linear, cubic, quintic = COEFFICIENTS
    norms = torch.linalg.matrix_norm(matrices, keepdim=True)  # at least the largest singular value
    in_16_bits = matrices.dtype == torch.float32 and has_fast_bf16(matrices.device)
    current = (matrices / (norms + TINY)).to(torch.bfloat16 if in_16_bits else matrices.dtype)
    for _ in range(num_iterations):
        squares = current @ current.mT  # (n, R, R), and R <= C
        factor = torch.baddbmm(squares, squares, squares, beta=cubic, alpha=quintic)
        current = torch.baddbmm(current, factor, current, beta=linear)
    return current.to(matrices.dtype)
