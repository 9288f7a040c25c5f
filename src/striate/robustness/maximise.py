"""The input that maximises what a model predicts, and whether to believe it. N inputs of any shape, M models of an
ensemble.

A model is right where it saw data, and gradient ascent walks to where it did not: the maximum found is an adversarial
example (Kumar & Levine 2020, arXiv:1912.13464; Trabucco et al. 2021, arXiv:2107.06882). Both signs of it are measured:
the distance to the data, and the disagreement of models that were trained apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.robustness.attacked import attacking

_FAR = 1.0
"""A point is far where it lies farther from the data than the data lie from one another, at the 95th percentile."""


@dataclass(frozen=True, eq=False)
class Maximum:
    """Inputs found (N, ...) with the ensemble's mean prediction (N,), its standard deviation over the models (N,), the
    prediction at the start (N,), and the distance to the nearest training input over what is usual among those (N,),
    NaN without data.
    """

    inputs: Tensor
    predictions: Tensor
    disagreements: Tensor
    predictions_at_start: Tensor
    relative_distances: Tensor
    warnings: tuple[str, ...]


def maximise_prediction(
    networks: nn.Module | Sequence[nn.Module],
    start: Tensor,
    bounds: tuple[float, float],
    *,
    data: Tensor | None = None,
    num_steps: int = 200,
    step_size: float | None = None,
    caution: float = 0.0,
    distance_weight: float = 0.0,
) -> Maximum:
    """Climb from `start` (N, ...) within `bounds` by Adam: mean - caution * deviation over the models - distance_weight
    * distance.

    Each network gives one number an input, (N,) or (N, 1). `data` (T, ...) are training inputs; with `distance_weight`
    the climb is held near them. The best input of the way is kept. Networks come back as they were. InputError for
    bounds or outputs that do not fit.

    `networks` are one or several; Adam takes `num_steps` steps of `step_size`, a fiftieth of the bounds by default;
    `caution` counts deviations between networks, 0 for none.
    """
    models = [networks] if isinstance(networks, nn.Module) else list(networks)
    low, high = bounds
    if not low < high:
        raise InputError(f"bounds must be (low, high) with low below high but are ({low:g}, {high:g})")
    if not models:
        raise InputError("expected at least one network to maximise but got none")
    if distance_weight > 0 and data is None:
        raise InputError("a weight on the distance to the data needs data; give the training inputs")
    rate = (high - low) / 50 if step_size is None else step_size
    points = start.detach().clamp(low, high)
    first, second = torch.zeros_like(points), torch.zeros_like(points)
    best, best_values = points.clone(), torch.full((len(points),), -torch.inf, device=points.device)
    for number in range(1, num_steps + 2):
        values, gradients = _objective(models, points, data, caution, distance_weight)
        is_better = values > best_values
        best[is_better], best_values = points[is_better], torch.maximum(values, best_values)
        first = 0.9 * first + 0.1 * gradients
        second = 0.999 * second + 0.001 * gradients.square()
        move = (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
        points = (points + rate * move).clamp(low, high)
    mean, deviation = predictions_of(models, best)
    before, before_deviation = predictions_of(models, start.detach().clamp(low, high))
    distances = relative_distance(best, data) if data is not None else torch.full_like(mean, torch.nan)
    return Maximum(best, mean, deviation, before, distances, _warn(distances, deviation, before_deviation))


def predictions_of(networks: Sequence[nn.Module], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the networks of what they predict for inputs (N, ...): (N,) each."""
    outputs = []
    for network in networks:
        with attacking(network) as attacked:
            outputs.append(_one_number(attacked.outputs(inputs)))
    stacked = torch.stack(outputs)
    return stacked.mean(dim=0), stacked.std(dim=0, correction=0)


def relative_distance(inputs: Tensor, data: Tensor) -> Tensor:
    """Euclidean distance of each input to the nearest of `data`, over the 95th percentile of that among `data`:
    (N,).
    """
    flat = data.flatten(1)
    among = torch.cdist(flat, flat)
    among.fill_diagonal_(torch.inf)
    usual = among.amin(dim=1).quantile(0.95).clamp(min=1e-12)
    return torch.cdist(inputs.flatten(1), flat).amin(dim=1) / usual


def _objective(
    models: Sequence[nn.Module], points: Tensor, data: Tensor | None, caution: float, distance_weight: float
) -> tuple[Tensor, Tensor]:
    """The value (N,) that is climbed and its gradient (N, ...)."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        outputs = []
        for network in models:
            with attacking(network):
                outputs.append(_one_number(network(points)))
        stacked = torch.stack(outputs)
        values = stacked.mean(dim=0)
        if caution and len(models) > 1:
            values = values - caution * (stacked.var(dim=0, correction=0) + 1e-12).sqrt()
        if distance_weight and data is not None:
            values = values - distance_weight * torch.cdist(points.flatten(1), data.flatten(1)).amin(dim=1)
        if not values.requires_grad:
            raise InputError("the networks give no gradients, so there is nothing to climb")
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def _one_number(outputs: Tensor) -> Tensor:
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = outputs[:, 0]
    if outputs.ndim != 1:
        raise InputError(f"expected one number for each input but a network gives {tuple(outputs.shape)}")
    return outputs


def _warn(distances: Tensor, deviation: Tensor, before: Tensor) -> tuple[str, ...]:
    lines = []
    num_far = int((distances > _FAR).sum())
    if num_far:
        lines.append(
            f"{num_far} of {len(distances)} inputs lie outside the training data, the farthest at "
            f"{distances.max():.1f} times the usual distance: what is predicted there is an extrapolation"
        )
    doubtful = int((deviation > 2 * before.mean() + 1e-12).sum())
    if doubtful:
        lines.append(
            f"for {doubtful} of {len(deviation)} inputs the models disagree more than twice as much as at the start: "
            "raise caution"
        )
    return tuple(lines)
