"""First weights of the four outputs of a box. K classes, D features."""

import torch
from torch import nn

from striate.weights.task_outputs import NUM_BOX_OUTPUTS

MIDDLE = (0.25, 0.25, 0.75, 0.75)
WEIGHT_FACTOR = 0.01


@torch.no_grad()
def start_from_the_middle(head: nn.Module) -> None:
    """Make the last four outputs of a linear layer or convolution, (K + 4, D, ...), nearly MIDDLE whatever the features
    are.

    Features without a norm may be in the hundreds, and so would be the first box: its loss would then drive all outputs
    below zero, and where a rectifier follows the head, as in SqueezeNet, they would stay there. Other layers are left
    as they are.
    """
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if not isinstance(head, nn.Linear | nn.Conv2d) or weight is None or len(weight) < NUM_BOX_OUTPUTS:
        return
    weight[-NUM_BOX_OUTPUTS:] *= WEIGHT_FACTOR
    if bias is not None:
        bias[-NUM_BOX_OUTPUTS:] = torch.tensor(MIDDLE, dtype=bias.dtype, device=bias.device)
