"""What gradient ascent raises: the score of a class, a unit or channel of a layer, or a whole layer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.synthesis.models import Layers, logits_of
from striate.tasks.classification.class_lookup import find_class

_UNIT = re.compile(r"(?P<layer>.+?):(?P<channel>\d+)(?::(?P<y>\d+),(?P<x>\d+))?")


@dataclass(frozen=True)
class ClassTarget:
    """The unnormalised score of one class (Simonyan et al. 2013, arXiv:1312.6034, section 2)."""

    index: int


@dataclass(frozen=True)
class UnitTarget:
    """The mean output of one channel of a layer, or its output at one place (y, x)."""

    layer: str
    channel: int
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class LayerTarget:
    """The mean square of all outputs of a layer, as in dreams (Mordvintsev et al. 2015, "Inceptionism")."""

    layer: str


Target = ClassTarget | UnitTarget | LayerTarget


def parse_unit(text: str) -> UnitTarget:
    """LAYER:CHANNEL or LAYER:CHANNEL:y,x, where the layer's own name may have colons. InputError for anything else."""
    found = _UNIT.fullmatch(text)
    if found is None:
        raise InputError(
            f"a unit is LAYER:CHANNEL or LAYER:CHANNEL:y,x but {text!r} was given; for example features.9:12"
        )
    place = None if found["y"] is None else (int(found["y"]), int(found["x"]))
    return UnitTarget(found["layer"], int(found["channel"]), place)


def named_targets(
    class_names: Sequence[str], classes: Sequence[str], units: Sequence[str], layers: Sequence[str]
) -> dict[str, Target]:
    """Classes, units and layers in the words of the command line, each by what it is called. Raises InputError."""
    targets: dict[str, Target] = {}
    for text in classes:
        index = find_class(text, class_names)
        targets[class_names[index]] = ClassTarget(index)
    targets |= {text: parse_unit(text) for text in units}
    return targets | {name: LayerTarget(name) for name in layers}


class Objective:
    """The value of a target for images (N, C, H, W) in [0, 1], a scalar, differentiable."""

    def __init__(self, model: nn.Module, target: Target) -> None:
        self.model, self.target = model, target
        self.layers = None if isinstance(target, ClassTarget) else Layers(model, (target.layer,))

    def __call__(self, images: Tensor) -> Tensor:
        """Run the model as far as needed."""
        if self.layers is None:
            assert isinstance(self.target, ClassTarget)
            return _class_score(logits_of(self.model, images), self.target.index)
        (output,) = self.layers(images).values()
        if isinstance(self.target, LayerTarget):
            return output.square().mean()
        assert isinstance(self.target, UnitTarget)
        return _unit_output(output, self.target)


def _class_score(logits: Tensor, index: int) -> Tensor:
    if not 0 <= index < logits.shape[1]:
        raise InputError(f"class {index} was asked for but the network has classes 0 to {logits.shape[1] - 1}")
    return logits[:, index].mean()


def _unit_output(output: Tensor, unit: UnitTarget) -> Tensor:
    if output.ndim not in (2, 4):
        raise InputError(
            f"{unit.layer} gives {tuple(output.shape)}, neither channels with a spatial map (N, C, H, W) nor units (N, "
            "C); name another layer, or ask for the whole layer"
        )
    if unit.channel >= output.shape[1]:
        raise InputError(
            f"{unit.layer} has channels 0 to {output.shape[1] - 1} but channel {unit.channel} was asked for"
        )
    channel = output[:, unit.channel]
    if unit.place is None:
        return channel.mean()
    if output.ndim != 4:
        raise InputError(f"{unit.layer} has no spatial map, so no unit at {unit.place}; leave the place out")
    y, x = unit.place
    height, width = output.shape[2:]
    if y >= height or x >= width:
        raise InputError(f"{unit.layer} is {height}x{width} here but the unit at y {y}, x {x} was asked for")
    return channel[:, y, x].mean()
