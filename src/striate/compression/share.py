"""Weight sharing: the weights of a layer become a few values, found by k-means (Han, Mao & Dally 2015,
arXiv:1510.00149, section 3).

k-means starts from values spread evenly between the smallest and the largest weight, which keeps the rare large weights
apart (section 3.2, "linear initialisation"). Zeros are left as they are.
"""

import torch
from torch import Tensor, nn

from striate.compression.weights_of import is_dense, weight_of, weighted_layers
from striate.errors import InputError

MAX_ITERATIONS = 100


def share(network: nn.Module, num_values: dict[str, int]) -> None:
    """Make the non-zero weights of each layer named `num_values[name]` values or fewer, in place.

    InputError for a name that is no convolution or dense layer, or a number below 1.
    """
    layers = weighted_layers(network)
    for name, count in num_values.items():
        if name not in layers:
            raise InputError(f"{name!r} is no convolution or dense layer; there are {', '.join(layers)}")
        share_weight(weight_of(layers[name]), count)


def by_kind(network: nn.Module, *, conv_bits: int, dense_bits: int) -> dict[str, int]:
    """2 ** bits values for each convolution and each dense layer."""
    for name, bits in (("conv", conv_bits), ("dense", dense_bits)):
        if not 1 <= bits <= 10:
            raise InputError(f"{name} must be 1 to 10 bits for each weight but is {bits}")
    return {
        name: 2 ** (dense_bits if is_dense(layer) else conv_bits) for name, layer in weighted_layers(network).items()
    }


def share_weight(weight: Tensor, num_values: int) -> None:
    """Replace the non-zero numbers of a weight by the `num_values` centroids nearest to them, in place."""
    if num_values < 1:
        raise InputError(f"weights need at least one shared value but {num_values} were asked for")
    with torch.no_grad():
        is_kept = weight != 0
        values = weight[is_kept]
        if len(values):
            centroids, indices = k_means(values, num_values)
            weight[is_kept] = centroids[indices]


def k_means(values: Tensor, num_centroids: int) -> tuple[Tensor, Tensor]:
    """Numbers (n,) -> centroids (K,) ascending, K <= num_centroids, and the index of each number's (n,) int64.

    Lloyd's iteration from evenly spread centroids until nothing moves; centroids without numbers are dropped.
    """
    ordered = values.double().sort().values
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    centroids = torch.linspace(float(ordered[0]), float(ordered[-1]), num_centroids, dtype=torch.float64)
    centroids = centroids.to(ordered.device).unique()
    starts = torch.zeros(len(centroids) + 1, dtype=torch.int64)
    for _ in range(MAX_ITERATIONS):
        borders = (centroids[1:] + centroids[:-1]) / 2
        cuts = torch.searchsorted(ordered, borders)
        starts = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), len(ordered))])
        counts = starts.diff()
        is_used = counts > 0
        means = (sums[starts[1:]] - sums[starts[:-1]])[is_used] / counts[is_used]
        if len(means) == len(centroids) and torch.equal(means, centroids):
            break
        centroids = means
    borders = (centroids[1:] + centroids[:-1]) / 2
    indices = torch.searchsorted(borders, values.double())
    return centroids.to(values.dtype), indices


def round_to_half(network: nn.Module) -> None:
    """Round every floating-point parameter and statistic to the nearest number of 16 bits, in place, so that a file can
    hold it in half.
    """
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                largest = torch.finfo(torch.float16).max
                tensor.copy_(tensor.clamp(-largest, largest).to(torch.float16))
