"""First weights that several families share."""

from torch import nn


def draw_for_mobile(network: nn.Module) -> None:
    """Draw as torchvision's mobile networks do, in place.

    Convolutions as He et al. 2015 (arXiv:1502.01852) by fan out, linear layers normal with deviation 0.01, biases zero.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
