"""The steps of compression as values: what was asked for, checked when it is made."""

from dataclasses import dataclass, field

from striate.compression.prune import Scope
from striate.errors import InputError


@dataclass(frozen=True)
class Prune:
    """Set a fraction `sparsity` of the weights of convolutions and dense layers to zero, in `rounds` of pruning and retraining
    of `epochs` each, the last of `last_epochs`.
    """

    sparsity: float
    scope: Scope = "lamp"
    rounds: int = 5
    epochs: int = 2
    last_epochs: int = 10
    name: str = "prune"

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InputError(f"the fraction of weights to prune must lie in [0, 1) but is {self.sparsity:g}")
        if self.rounds < 1 or self.epochs < 0:
            raise InputError(
                f"pruning takes at least one round but {self.rounds} of {self.epochs} epochs were asked for"
            )


@dataclass(frozen=True)
class Share:
    """Share weights: 2 ** bits values for each layer, by k-means, then trained for `epochs`. `layer_values` overrides it for
    layers by name.
    """

    conv_bits: int = 8
    dense_bits: int = 5
    epochs: int = 2
    layer_values: dict[str, int] = field(default_factory=dict)
    name: str = "share"

    def __post_init__(self) -> None:
        for kind, bits in (("conv", self.conv_bits), ("dense", self.dense_bits)):
            if not 1 <= bits <= 10:
                raise InputError(f"{kind} must have 1 to 10 bits for each weight but has {bits}")


Step = Prune | Share
"""Any step."""
