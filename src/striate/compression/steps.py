"""The steps of compression as values: what was asked for, checked when it is made."""

from dataclasses import dataclass, field
from typing import Literal

from striate.compression.prune import Scope
from striate.errors import InputError


@dataclass(frozen=True)
class Prune:
    """Set a fraction `sparsity` of the weights of convolutions and dense layers to zero, in `rounds` of pruning and
    retraining of `epochs` each, the last of `last_epochs`. `scope` says how the layers share it (prune.py);
    "sensitivity" prunes each so that all raise the loss alike.
    """

    sparsity: float
    scope: Scope | Literal["sensitivity"] = "lamp"
    rounds: int = 5
    epochs: int = 2
    last_epochs: int = 10
    name: str = "prune"

    def __post_init__(self) -> None:
        _check_fraction(self.sparsity)
        if self.rounds < 1 or min(self.epochs, self.last_epochs) < 0:
            raise InputError(
                f"pruning takes at least one round but {self.rounds} of {self.epochs} epochs were asked for"
            )


@dataclass(frozen=True)
class Share:
    """Share weights: 2 ** bits values for each layer, by k-means, then trained for `epochs`. `layer_values` overrides
    it for layers by name.
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


@dataclass(frozen=True)
class FewValues:
    """Train weights of three values ("ternary") or two ("binary") for `epochs`."""

    kind: Literal["ternary", "binary"]
    epochs: int = 10

    @property
    def name(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Distil:
    """Train for `epochs` on a teacher's answers and the labels. `teacher` is what `load_model` takes; `network` names a
    fresh student.
    """

    teacher: str
    network: str | None = None
    temperature: float = 4.0
    soft_weight: float = 0.9
    epochs: int = 10
    name: str = "distil"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"the temperature of distillation must be above 0 but is {self.temperature:g}")
        _check_fraction(self.soft_weight)


@dataclass(frozen=True)
class DenseSparseDense:
    """Prune a fraction `sparsity` of each layer, train the rest for `epochs`, then all weights again for `epochs` at a
    tenth of the rate.
    """

    sparsity: float = 0.3
    epochs: int = 5
    name: str = "dsd"

    def __post_init__(self) -> None:
        _check_fraction(self.sparsity)


@dataclass(frozen=True)
class PruneChannels:
    """Take away whole channels until about the fraction `macs` of the multiply-adds is left, then retrain for
    `epochs`.
    """

    macs: float
    epochs: int = 10
    name: str = "channels"

    def __post_init__(self) -> None:
        if not 0 < self.macs <= 1:
            raise InputError(f"the fraction of multiply-adds to keep must lie in (0, 1] but is {self.macs:g}")


@dataclass(frozen=True)
class LowRank:
    """Replace layers by factors that keep the fraction `energy` of their squares, then retrain for `epochs`."""

    energy: float
    epochs: int = 5
    name: str = "low-rank"

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise InputError(f"the energy that factors keep must lie in (0, 1] but is {self.energy:g}")


@dataclass(frozen=True)
class Int8:
    """Round weights to 8 bits a number, a scale a channel, and correct biases; with `epochs` they are trained as
    rounded first.
    """

    epochs: int = 0
    name: str = "int8"


Step = Int8 | PruneChannels | LowRank | Prune | Share | FewValues | Distil | DenseSparseDense
"""Any step."""


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise InputError(f"the fraction of weights to prune must lie in [0, 1) but is {fraction:g}")
