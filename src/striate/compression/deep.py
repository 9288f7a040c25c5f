"""Deep compression: prune, share, code, with the settings that a model and a wish for size ask for (Han, Mao & Dally
2015, arXiv:1510.00149).
"""

import copy
import dataclasses

from striate.compression.allocate import allocate, loss_of, options_of, price_for
from striate.compression.fisher import fisher_diagonal
from striate.compression.images import CompressionImages
from striate.compression.model_bytes import bytes_of, shortened
from striate.compression.prune import prune, sparsity_of
from striate.compression.share import by_kind, round_to_half, share
from striate.compression.steps import Prune, Share, Step
from striate.compression.weights_of import is_dense, weight_of, weighted_layers
from striate.errors import InputError
from striate.progress import Track, track_silently
from striate.tasks.model import Model

DENSE_SPARSITY, CONV_SPARSITY = 0.94, 0.7
"""Where nothing is said: for networks whose weights are mostly dense, and for others. The paper's lie at 0.92 and 0.65
to 0.7.
"""
MOST_SPARSITY = 0.995
UNTRAINED_LOSS = 0.13
"""Nats by which sharing may raise the loss before its values are tuned, as the Fisher information foresees it."""
FISHER_IMAGES = 64
MARGIN = 0.97
"""Trained centroids code a little worse than fresh ones, so a ratio is aimed at with so much of its bytes."""


def deep_steps(
    model: Model, images: CompressionImages, *, ratio: float | None = None, track: Track = track_silently
) -> list[Step]:
    """The steps of deep compression for a model. `ratio` is how many times smaller than 32-bit weights the file should
    be.

    Without images to train on nothing more is pruned, and layers get as many shared values as the loss, by its Fisher
    information on some of the images, asks for. InputError, naming the nearest, for a ratio that cannot be reached.
    """
    if not images.can_train:
        return [untrained_sharing(model, images, ratio=ratio, track=track)]
    layers = weighted_layers(model.network)
    num_dense = sum(weight_of(layer).numel() for layer in layers.values() if is_dense(layer))
    is_mostly_dense = 2 * num_dense > sum(weight_of(layer).numel() for layer in layers.values())
    sharing = Share(conv_bits=8, dense_bits=5)
    if ratio is not None:
        return steps_for_ratio(model, sharing, ratio)
    sparsity = DENSE_SPARSITY if is_mostly_dense else CONV_SPARSITY
    return [Prune(max(sparsity, sparsity_of(model.network))), sharing]


def untrained_sharing(
    model: Model, images: CompressionImages, *, ratio: float | None = None, track: Track = track_silently
) -> Share:
    """Sharing without labels: as many values in each layer as raise the loss by about UNTRAINED_LOSS, or as reach the
    ratio, in the fewest bits.
    """
    _, given = images.some(model, FISHER_IMAGES)
    fisher = fisher_diagonal(model.network, given, track=track)
    options = options_of(model.network, fisher)

    def sharing(price: float) -> Share:
        return Share(epochs=2, layer_values=allocate(options, price))

    if ratio is None:
        return sharing(price_for(lambda price: loss_of(options, allocate(options, price)) >= UNTRAINED_LOSS))
    check_ratio(ratio)
    num_bytes = num_bytes_of(model)
    found = sharing(
        price_for(lambda price: shared_bytes(model, sharing(price), 0.0) <= num_bytes / ratio, num_steps=12)
    )
    if (size := shared_bytes(model, found, 0.0)) > num_bytes / ratio:
        raise InputError(
            f"a ratio of {ratio:g} needs pruning, and there are no images to retrain on; without, the nearest is "
            f"{num_bytes / size:.1f}"
        )
    return found


def steps_for_ratio(model: Model, sharing: Share, ratio: float) -> list[Step]:
    """The least pruning that makes the file `ratio` times smaller than 32-bit weights, found by trying without
    retraining.
    """
    check_ratio(ratio)
    num_bytes = num_bytes_of(model)
    wanted = MARGIN * num_bytes / ratio
    low = sparsity_of(model.network)
    if shared_bytes(model, sharing, low) <= wanted:
        return [sharing]
    high = MOST_SPARSITY
    least = shared_bytes(model, sharing, high)
    if least > wanted:
        raise InputError(f"a ratio of {ratio:g} cannot be reached; the nearest is {MARGIN * num_bytes / least:.1f}")
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if shared_bytes(model, sharing, middle) <= wanted else (middle, high)
    return [Prune(high), sharing]


def check_ratio(ratio: float) -> None:
    """InputError unless the ratio asks for a smaller file."""
    if not ratio > 1:
        raise InputError(f"the ratio is how many times smaller the file should be, above 1, but is {ratio:g}")


def num_bytes_of(model: Model) -> int:
    """Bytes of the model's parameters in 32 bits."""
    return 4 * sum(param.numel() for param in model.network.parameters())


def shared_bytes(model: Model, sharing: Share, sparsity: float) -> int:
    """Bytes of the file after pruning to `sparsity` and sharing, nothing retrained; the model stays as it is."""
    trial = dataclasses.replace(
        model, network=copy.deepcopy(model.network), provenance=shortened(model.provenance)
    )  # as the file will have it: a run's own provenance can outweigh a small network
    prune(trial.network, sparsity)
    share_by(trial, sharing)
    round_to_half(trial.network)
    return len(bytes_of(trial)[0])


def share_by(model: Model, step: Share) -> None:
    """Share the weights of a model's network as the step says, in place."""
    values = by_kind(model.network, conv_bits=step.conv_bits, dense_bits=step.dense_bits)
    share(model.network, values | step.layer_values)
