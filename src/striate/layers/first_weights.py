"""How the weights of convolutions and linear layers are drawn before training, where more than one family does it so.

Nothing is drawn for layers on the meta device, which have no values; PyTorch would take its time about it.
"""

from collections.abc import Iterator

from torch import nn

HEAD_STD = 0.01


def draw_he_normal(network: nn.Module, *, heads: tuple[nn.Module, ...] = ()) -> None:
    """Normal with variance 2 / fan in (He et al. 2015, arXiv:1502.01852, eq. 10), biases zero, in place.

    The layers in `heads` get small weights, so that training starts from even odds and not from confident mistakes.
    """
    for layer in _layers_to_draw(network):
        if layer in heads:
            nn.init.normal_(layer.weight, std=HEAD_STD)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_for_mobile(network: nn.Module) -> None:
    """As torchvision's mobile networks: convolutions by fan out (He et al.), linear layers small, biases zero; in place."""
    for layer in _layers_to_draw(network):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        else:
            nn.init.normal_(layer.weight, std=HEAD_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_small_normal(network: nn.Module, *, std: float) -> None:
    """Normal with deviation `std`, whatever a layer's size, as networks were drawn before He et al.; biases zero; in place."""
    for layer in _layers_to_draw(network):
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_truncated_normal(network: nn.Module, std: float, *, other_stds: dict[nn.Module, float] | None = None) -> None:
    """Normal within [-2, 2], of deviation `std`, or of a layer's own in `other_stds`; biases stay; in place."""
    for layer in _layers_to_draw(network):
        nn.init.trunc_normal_(layer.weight, std=(other_stds or {}).get(layer, std), a=-2, b=2)


def _layers_to_draw(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            yield module
