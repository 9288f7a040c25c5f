"""Style transfer by optimisation (Gatys, Ecker & Bethge 2015, arXiv:1508.06576).

Departures: both losses are relative to the squares of what is wanted, so that one set of weights serves any network;
the style of several pictures is the weighted mean of their Gram matrices; total variation is penalised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.synthesis.gram import fast_gram_dtype, gram_matrix, relative_error
from striate.synthesis.models import Layers, device_of, frozen_float32
from striate.synthesis.pictures import Synthesis, resize_pixels, to_images
from striate.synthesis.pixel_search import Method, search_pixels
from striate.synthesis.regularizers import total_variation
from striate.synthesis.style_layers import StyleLayers, choose_layers
from striate.synthesis.visualize import naming_small_pictures
from striate.synthesis.watching import UNWATCHED, Watch

_BORDERS_PX = {"reflect": 8, "circular": 32}
# luminance, and two differences of colour (NTSC's YIQ)
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


@dataclass(frozen=True)
class StyleConfig:
    """`style_weight` against a weight of 1 for content; `keep_colours` gives the result the content's colours.

    Begins with the content, or with noise for `start` "noise". `precision` "float32" forbids bfloat16 factors in Gram
    matrices, which "auto" takes where the processor has them.
    """

    style_weight: float = 100.0
    total_variation: float = 1.0
    num_steps: int = 200
    method: Method = "lbfgs"
    learning_rate: float | None = None
    keep_colours: bool = False
    start: str = "content"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.style_weight < float("inf") or not 0 <= self.total_variation < float("inf"):
            raise InputError(
                f"weights must be at least 0 but style has {self.style_weight:g} and total variation "
                f"{self.total_variation:g}"
            )
        if self.precision not in ("auto", "float32"):
            raise InputError(f"precision must be auto or float32 but is {self.precision!r}")
        if self.start not in ("content", "noise"):
            raise InputError(f"a style transfer starts from content or noise but {self.start!r} was asked for")


def transfer_style(
    model: nn.Module,
    content: np.ndarray,
    styles: Sequence[np.ndarray],
    config: StyleConfig | None = None,
    *,
    layers: StyleLayers | None = None,
    style_fractions: Sequence[float] | None = None,
    init: np.ndarray | None = None,
    watch: Watch = UNWATCHED,
) -> Synthesis:
    """The content (H, W, 3) uint8 painted in the mean style of pictures of any size, as pixels (H, W, 3) uint8.

    `model` takes images (1, 3, h, w) in [0, 1] of any size, such as a `PixelModel`, and comes back as it was.
    `style_fractions` are brought to a sum of 1. `init`, a picture of any size, is where the search begins; a picture
    written before resumes it.
    Raises InputError for layers that the model lacks.

    `content` and each of `styles` are pictures; `layers` say where content and style are compared, by default layers
    tried for the network, or else the first activation at each spatial size.
    """
    config = config or StyleConfig()
    device = device_of(model)
    fractions = _normalized(style_fractions, len(styles))
    layers = layers or choose_layers(model, content.shape[:2])
    images = to_images(content, device)
    with frozen_float32(model), naming_small_pictures(content.shape[:2]):
        loss_of = StyleLoss(model, images, [to_images(each, device) for each in styles], fractions, layers, config)
        begin = _start(images, init, config)
        return search_pixels(
            begin,
            loss_of,
            num_steps=config.num_steps,
            method=config.method,
            learning_rate=config.learning_rate,
            finish=(lambda found: with_colours_of(found, images)) if config.keep_colours else (lambda found: found),
            watch=watch,
        )


class StyleLoss:
    """Content error + style weight x mean style error over layers + total variation, of images (1, 3, H, W), a scalar.

    Images are seen with a border, mirrored, or wrapped around for `border` "circular". Keeps only the Gram matrices and
    content outputs wanted, not the activations behind them.
    """

    def __init__(
        self,
        model: nn.Module,
        content: Tensor | None,
        styles: Sequence[Tensor],
        fractions: Sequence[float],
        layers: StyleLayers,
        config: StyleConfig,
        *,
        border: str = "reflect",
    ) -> None:
        self.config = config
        self.border = border
        self.style_layers = layers.style
        self.content_layers = layers.content if content is not None else ()
        self.outputs = Layers(model, (*self.style_layers, *self.content_layers))
        self.dtype = torch.float32 if config.precision == "float32" else fast_gram_dtype(device_of(model))
        self.wanted_content: dict[str, Tensor] = {}
        self.wanted_grams: dict[str, Tensor] = {}
        with torch.no_grad():
            if content is not None:
                found = self._see(content, "reflect")
                self.wanted_content = {name: found[name].clone() for name in self.content_layers}
            for style, fraction in zip(styles, fractions, strict=True):
                found = self._see(style, "reflect")
                for name in self.style_layers:
                    gram = fraction * gram_matrix(found[name], dtype=self.dtype)
                    self.wanted_grams[name] = self.wanted_grams[name] + gram if name in self.wanted_grams else gram

    def _see(self, images: Tensor, border: str) -> dict[str, Tensor]:
        """Outputs for images with a border: the outermost pixels are else seen too seldom, or beside zeros.

        For a texture that wraps around, the border is wide and cut off the outputs again.
        """
        margin = min(_BORDERS_PX[self.border], *(side - 1 for side in images.shape[2:]))
        outputs = self.outputs(F.pad(images, [margin] * 4, mode=border))
        if self.border == "reflect":
            return outputs
        return {name: _without_border(output, images.shape[2:], margin) for name, output in outputs.items()}

    def __call__(self, images: Tensor) -> Tensor:
        """One pass up to the last layer needed."""
        outputs = self._see(images, self.border)
        loss = torch.zeros((), device=images.device)
        for name in self.content_layers:
            loss = loss + relative_error(outputs[name], self.wanted_content[name]) / len(self.content_layers)
        for name in self.style_layers:
            error = relative_error(gram_matrix(outputs[name], dtype=self.dtype), self.wanted_grams[name])
            loss = loss + self.config.style_weight / len(self.style_layers) * error
        if self.config.total_variation:
            loss = loss + self.config.total_variation * total_variation(images)
        return loss


def _without_border(output: Tensor, size: torch.Size, margin: int) -> Tensor:
    """The part of an output (N, C, h, w) that lies over the images of a (height, width) and not over their border."""
    if output.ndim != 4:
        return output
    cuts = [round(cells * margin / (side + 2 * margin)) for cells, side in zip(output.shape[2:], size, strict=True)]
    if not any(cuts):
        return output
    return output[:, :, cuts[0] : output.shape[2] - cuts[0], cuts[1] : output.shape[3] - cuts[1]]


def with_colours_of(images: Tensor, colours: Tensor) -> Tensor:
    """The luminance of one picture (1, 3, H, W) with the colours of another (Gatys et al. 2016, arXiv:1606.05897,
    section 5).
    """
    to_yiq = _TO_YIQ.to(images.device)
    found, wanted = (torch.einsum("ij,njhw->nihw", to_yiq, each.clamp(0, 1)) for each in (images, colours))
    mixed = torch.cat((found[:, :1], wanted[:, 1:]), dim=1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_yiq), mixed).clamp(0, 1)


def _normalized(fractions: Sequence[float] | None, count: int) -> list[float]:
    if not count:
        raise InputError("at least one style picture is needed")
    if fractions is None:
        return [1 / count] * count
    if len(fractions) != count or min(fractions) < 0 or not 0 < sum(fractions) < float("inf"):
        raise InputError(
            f"{count} style pictures need as many weights of at least 0, not all 0, but got {list(fractions)}"
        )
    return [fraction / sum(fractions) for fraction in fractions]


def _start(images: Tensor, init: np.ndarray | None, config: StyleConfig) -> Tensor:
    if init is not None:
        return to_images(resize_pixels(init, (images.shape[2], images.shape[3])), images.device)
    if config.start == "content":
        return images
    generator = torch.Generator(images.device).manual_seed(config.seed)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images.mean(dim=(2, 3), keepdim=True) + 0.1 * noise).clamp(0, 1)
