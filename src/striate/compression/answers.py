"""What a classifier says of images whose classes are known, five numbers an image. N images."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from striate.evaluation.evaluate_network import accumulate
from striate.tasks.classification.figures import ClassificationAccumulator
from striate.tasks.classification.metrics import Answers


def answers_to(network: nn.Module, batches: Iterable[Tensor], labels: np.ndarray) -> Answers:
    """What the network, in evaluation mode, says to batches of its input, whose labels (N,) follow one another."""
    accumulator = ClassificationAccumulator(())
    accumulate(accumulator, network, batches, labels, torch.from_numpy)
    return accumulator.answers()
