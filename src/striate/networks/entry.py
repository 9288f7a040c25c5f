"""One row of the catalogue: a network, its paper, its default configuration and its published figures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Published:
    """Errors a paper prints, as fractions in [0, 1], and where it prints them."""

    source: str
    top1_error: float | None = None
    top5_error: float | None = None


@dataclass(frozen=True)
class Weights:
    """Published weights that can be had on request: where from, how large, which checksum, how images must be prepared.

    `class_names` is called only when needed and gives the names in the order of the outputs.
    """

    name: str
    url: str
    size_bytes: int
    sha256_prefix: str
    preprocessing: Preprocessing
    class_names: Callable[[], tuple[str, ...]]
    source: str


@dataclass(frozen=True)
class Entry:
    """A network in the catalogue.

    `build(config)` makes it; `config` is the frozen dataclass of the family with the paper's values and always has the
    fields `in_channels` and `num_classes`. `input_size` is (C, H, W) in pixels. `stem` and `head` name, as in
    `named_modules`, the first convolution (or linear layer) and the last layer with `num_classes` outputs. `num_params`
    and `macs` (multiply-adds of one image at `input_size`) are those of the default configuration in evaluation; a test
    recounts them. `auxiliary_heads` name the last layers of other heads, mostly of those that only training uses, and
    `num_auxiliary_params` counts the parameters that only training uses: they come on top of `num_params`.
    `other_stems` name the first layers of further paths that see the images. `min_size` is the smallest legal height
    and width. `is_fixed_size` says that only `input_size` is legal. Where first weights are measured on data,
    `initialize_from_images(network, images)` sets them from preprocessed training images (N, C, H, W). Where published
    files have other parameter names, `rename(name)` gives a parameter's name here for that in the file. Other people's
    networks (external.py, given.py) may have no `year`; `has_norm` is false for those that normalise nothing inside,
    `is_shallow` holds for a network given from Python that has few layers, and `preprocessing` is what their makers'
    weights expect, where there are no `weights` to say it. `kind` says what the network gives: a "classifier" logits
    (N, K). A network on another's features has that one's entry as `base`, and its layers lie in the submodule "base".
    """

    name: str
    family: str
    year: int | None
    title: str
    paper: str
    build: Callable[[Any], nn.Module]
    config: Any
    input_size: tuple[int, int, int]
    num_params: int
    macs: int
    stem: str
    head: str
    min_size: tuple[int, int]
    is_fixed_size: bool = False
    auxiliary_heads: tuple[str, ...] = ()
    num_auxiliary_params: int = 0
    other_stems: tuple[str, ...] = ()
    published: Published | None = None
    weights: tuple[Weights, ...] = ()
    initialize_from_images: Callable[[nn.Module, Tensor], None] | None = None
    rename: Callable[[str], str] | None = None
    has_norm: bool = True
    is_shallow: bool = False
    preprocessing: Preprocessing | None = None
    kind: str = "classifier"
    base: "Entry | None" = None

    @property
    def usual_preprocessing(self) -> Preprocessing | None:
        """Preprocessing for weights that do not name theirs: that of the first published weights."""
        return self.weights[0].preprocessing if self.weights else self.preprocessing

    @property
    def usual_weights(self) -> str:
        """The weights whose preparation that is, in words."""
        return f"{self.name}:{self.weights[0].name}" if self.weights else f"the weights that {self.family} publishes"
