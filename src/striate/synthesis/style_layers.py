"""Layers to take a picture's style and content from: tried ones for well-known networks, a rule for all others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.hooks import module_hooks
from striate.synthesis.models import device_of, frozen_float32
from striate.tasks.pixel_model import PixelModel

_MOST_STYLE_LAYERS = 5


@dataclass(frozen=True)
class StyleLayers:
    """Layers whose Gram matrices are the style, and whose outputs are the content."""

    style: tuple[str, ...]
    content: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.style:
            raise InputError("at least one style layer is needed; striate describe lists layers")


TRIED = {
    "squeezenet1_0": StyleLayers(
        ("features.1", "features.3", "features.4", "features.5", "features.7", "features.9"), ("features.5",)
    ),
    "squeezenet1_1": StyleLayers(
        ("features.1", "features.3", "features.4", "features.6", "features.7", "features.9"), ("features.4",)
    ),
    # relu1_1 to relu5_1 and relu4_2, as in the paper
    "vgg16": StyleLayers(
        ("features.1", "features.6", "features.11", "features.18", "features.25"), ("features.20",)
    ),
    "vgg19": StyleLayers(
        ("features.1", "features.6", "features.11", "features.20", "features.29"), ("features.22",)
    ),
}  # fmt: skip


def choose_layers(
    model: nn.Module,
    size: tuple[int, int],
    *,
    network_name: str | None = None,
    style: Sequence[str] = (),
    content: Sequence[str] = (),
) -> StyleLayers:
    """The layers named, else those tried for the network of this name, else by rule.

    The rule: for style the first activation at each spatial size of the outputs, at most five; for content that of the
    third size, or the last. Raises InputError for a network without spatial maps.
    """
    if style and content:
        return StyleLayers(tuple(style), tuple(content))
    usual = TRIED.get(network_name or "") or _by_rule(model, size)
    return StyleLayers(tuple(style) or usual.style, tuple(content) or usual.content)


def _by_rule(model: nn.Module, size: tuple[int, int]) -> StyleLayers:
    network = model.network if isinstance(model, PixelModel) else model
    modules = dict(network.named_modules())
    places: list[tuple[str, tuple[int, int]]] = []

    def after(name: str, _args: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            places.append((name, (output.shape[2], output.shape[3])))

    with frozen_float32(model), torch.no_grad(), module_hooks(network, lambda _name, _args: None, after):
        model(torch.full((1, 3, *size), 0.5, device=device_of(model)))
    names = [name for name, _ in places]
    places = [(name, shape) for name, shape in places if names.count(name) == 1]
    chosen: dict[tuple[int, int], str] = {}
    for name, shape in places:
        is_activation = type(modules[name]).__module__ == "torch.nn.modules.activation"
        held = chosen.get(shape)
        if held is None or (is_activation and type(modules[held]).__module__ != "torch.nn.modules.activation"):
            chosen[shape] = name
    if not chosen:
        raise InputError("no layer of the network has a spatial map, so it has no style; name another network")
    layers = tuple(chosen.values())[:_MOST_STYLE_LAYERS]
    return StyleLayers(layers, (layers[min(2, len(layers) - 1)],))
