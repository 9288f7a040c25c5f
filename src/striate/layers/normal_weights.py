"""Small normal weights, as networks drew them before first weights were fitted to the size of a layer."""

from torch import nn


def draw_normal_weights(network: nn.Module, *, std: float) -> None:
    """Draw the weights of every convolution and linear layer from a normal distribution, biases zero; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
