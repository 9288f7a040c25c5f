"""Linear classifiers: softmax regression and the linear support vector machine. N images, D features, K classes.

Softmax regression lowers the mean cross-entropy; the machine the mean over images of the squared hinge, one class
against the others, summed over classes (the L2-loss machine of Fan et al. 2008, LIBLINEAR, JMLR 9:1871-1874). Both add
half the penalty times the squared weights; biases are free. L-BFGS finds the minimum.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError

LOSSES = ("softmax", "hinge")
PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Strengths of the penalty that are tried, on features of mean square 1, the strongest first."""
_MOST_ITERATIONS = 200
_FEWEST_HELD = 10


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights (K, D) and biases (K,), float32: scores are features @ weights.T + biases. `penalty` is what they were
    fitted with.
    """

    weights: np.ndarray
    biases: np.ndarray
    penalty: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Features (n, D) -> scores (n, K)."""
        result: np.ndarray = features @ self.weights.T + self.biases
        return result


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    loss: str,
    penalty: float,
    start: LinearFit | None = None,
    most_iterations: int = _MOST_ITERATIONS,
) -> LinearFit:
    """The linear classifier of features (N, D) and labels (N,) with the least loss, from `start` on where one is given.

    `loss` is "softmax" or "hinge". InputError for another one, or a penalty that is not above 0.
    """
    if loss not in LOSSES:
        raise InputError(f"loss must be {' or '.join(LOSSES)} but is {loss!r}")
    if not penalty > 0:
        raise InputError(f"penalty must be above 0 but is {penalty:g}")
    center = features.mean(
        axis=0
    )  # centred features make a well-shaped problem; the weights are those of the originals
    scale = float(np.sqrt(np.mean((features - center) ** 2))) or 1.0
    rows = torch.from_numpy(np.ascontiguousarray((features - center) / scale, np.float32))
    wanted = torch.from_numpy(np.asarray(labels, np.int64))
    num_weights = num_classes * rows.shape[1]
    first = np.zeros(num_weights + num_classes)
    if start is not None:
        first[:num_weights] = start.weights.ravel() * scale
        first[num_weights:] = start.biases + start.weights @ center
    own_penalty = penalty

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat.astype(np.float32))
        weights, biases = parameters[:num_weights].view(num_classes, -1), parameters[num_weights:]
        mean, slopes = _loss_and_slopes(torch.addmm(biases, rows, weights.T), wanted, loss)
        grads = torch.cat([(slopes.T @ rows + own_penalty * weights).flatten(), slopes.sum(dim=0)])
        total = mean + 0.5 * own_penalty * float(weights.double().square().sum())
        return total, grads.double().numpy()

    found = minimize(
        objective, first, jac=True, method="L-BFGS-B", options={"maxiter": most_iterations, "ftol": 1e-7, "gtol": 1e-6}
    ).x
    weights = (found[:num_weights].reshape(num_classes, -1) / scale).astype(np.float32)
    biases = (found[num_weights:] - weights @ center).astype(np.float32)
    return LinearFit(weights, biases, penalty)


def _loss_and_slopes(scores: Tensor, labels: Tensor, loss: str) -> tuple[float, Tensor]:
    """The mean loss of scores (N, K), and its slopes (N, K)."""
    count = len(labels)
    if loss == "softmax":
        logs = scores.log_softmax(dim=1)
        mean = -float(logs.gather(1, labels[:, None]).double().mean())
        slopes = logs.exp_()
        slopes[torch.arange(count), labels] -= 1
        return mean, slopes / count
    signs = torch.full_like(scores, -1).scatter_(1, labels[:, None], 1.0)
    missing = F.relu(1 - signs * scores)  # (N, K)
    return float(missing.double().square().sum()) / count, -2 * signs * missing / count


def choose_penalty(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    loss: str,
    seed: int = 0,
    most_images: int = 10_000,
) -> float:
    """The penalty of PENALTIES with the best accuracy on a fifth of the images held out, on at most `most_images`.

    Of equally accurate ones the strongest is taken. It weighs the mean loss, so on more images the same strength of
    belief would be smaller: it is scaled down in proportion. Below fifty images it is 0.1.
    """
    order = np.random.default_rng(seed).permutation(len(labels))[:most_images]
    held, fitted = order[: len(order) // 5], order[len(order) // 5 :]
    if len(held) < _FEWEST_HELD:
        return 0.1
    fit: LinearFit | None = None
    accuracies = []
    for penalty in PENALTIES:
        fit = fit_linear(
            features[fitted], labels[fitted], num_classes, loss=loss, penalty=penalty, start=fit, most_iterations=60
        )
        accuracies.append(float((fit.scores(features[held]).argmax(axis=1) == labels[held]).mean()))
        if len(accuracies) > 3 and max(accuracies[-2:]) < max(accuracies) - 0.005:
            break
    return PENALTIES[int(np.argmax(accuracies))] * len(fitted) / len(labels)
