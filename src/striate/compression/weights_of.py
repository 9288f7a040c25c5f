"""Which tensors of a network compression works on: the weights of convolutions and dense layers."""

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from striate.errors import InputError


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and dense layers by name, in order. InputError where there are none."""
    layers: dict[str, nn.Module] = {
        name: each for name, each in network.named_modules() if isinstance(each, _ConvNd | nn.Linear)
    }
    if not layers:
        raise InputError(
            f"{type(network).__name__} has no convolution and no dense layer, so there is nothing to compress"
        )
    return layers


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight (out, in, ...)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def is_dense(layer: nn.Module) -> bool:
    """Whether a layer is dense, and not a convolution."""
    return isinstance(layer, nn.Linear)
