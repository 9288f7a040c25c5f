"""Multilayer perceptron: linear layers with rectifiers between them. N images, C channels, K classes.

Its layers are those of Rumelhart, Hinton & Williams 1986 (doi:10.1038/323533a0), who made the hidden ones learn.
Departures: ReLU instead of the logistic function, logits for cross-entropy instead of squared errors of logistic
outputs, weights drawn as He et al. 2015 (arXiv:1502.01852), small ones in the last layer. The default, two hidden
layers of 512 on 28x28 grey pixels, is the one of many tutorials and of no paper.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry


@dataclass(frozen=True)
class MLPConfig:
    """Channels in, classes out, (height, width) of the images in pixels, and the units of each hidden layer (none at
    all is softmax regression)."""

    in_channels: int = 1
    num_classes: int = 10
    image_size: tuple[int, int] = (28, 28)
    hidden_widths: tuple[int, ...] = (512, 512)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InputError(f"image_size must be (height, width), each at least 1, but is {self.image_size}")
        if any(width < 1 for width in self.hidden_widths):
            raise InputError(f"hidden_widths must be at least 1 each but are {self.hidden_widths}")


class MLP(nn.Module):
    """Pixels in a row, hidden layers with ReLU, a linear head: images (N, C, height, width) -> logits (N, K)."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        self.flatten = nn.Flatten()
        height, width = config.image_size
        num_inputs = config.in_channels * height * width
        layers: list[nn.Module] = []
        for num_units in config.hidden_widths:
            layers += [nn.Linear(num_inputs, num_units), nn.ReLU()]
            num_inputs = num_units
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(num_inputs, config.num_classes)
        draw_he_normal(self, heads=(self.head,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, height, width) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, self.config.image_size, is_fixed_size=True, network="mlp")
        return self.head(self.hidden(self.flatten(images)))


ENTRIES = (
    Entry(
        name="mlp", family="mlp", year=1986, title="Learning representations by back-propagating errors",
        paper="doi:10.1038/323533a0", build=MLP, config=MLPConfig(), input_size=(1, 28, 28), num_params=669_706,
        macs=668_672, stem="hidden.0", head="head", min_size=(28, 28), is_fixed_size=True,
    ),
)  # fmt: skip
