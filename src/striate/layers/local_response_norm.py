"""Local response normalisation as its paper has it (Krizhevsky, Sutskever & Hinton 2012, section 3.3).

The paper divides each activation by (k + alpha * S) ** beta, S being the sum of squares at the same pixel over `size`
neighbouring maps. torch.nn.LocalResponseNorm divides by (k + alpha / size * S) ** beta: the paper's constants given to
it normalise `size` times less.
"""

from torch import nn

from striate.errors import InputError


def local_response_norm(
    size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> nn.LocalResponseNorm:
    """Torch's layer with the paper's arithmetic and, by default, its constants: (N, C, H, W) -> the same shape.

    InputError for an even size: the paper's sum reaches as far to either side, so the number of maps is odd.
    """
    if size < 1 or size % 2 == 0:
        raise InputError(f"size must be an odd number of maps, as many to either side, but is {size}")
    return nn.LocalResponseNorm(size, alpha=alpha * size, beta=beta, k=k)
