"""Pictures that a class, unit or layer answers most strongly, by gradient ascent from noise."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.hooks import changing_activations
from striate.synthesis.image_space import FourierSpace, PixelSpace, image_space
from striate.synthesis.models import device_of, frozen_float32, step_gradient
from striate.synthesis.pictures import Synthesis, check_size, to_pixels
from striate.synthesis.regularizers import Regularizers, regularize, total_variation
from striate.synthesis.targets import Objective, Target
from striate.synthesis.views import Views, random_view
from striate.synthesis.watching import UNWATCHED, Watch

_NUM_REDIRECTED = 16


@dataclass(frozen=True)
class AscentConfig:
    """How to climb. `size` is (height, width) of the picture, which the network must accept.

    The last tenth of the steps looks at the picture itself and no more at random views of it.
    """

    size: tuple[int, int]
    channels: int = 3
    num_steps: int = 160
    learning_rate: float = 0.015
    parametrization: str = "fourier"
    use_decorrelated_colours: bool = True
    views: Views = field(default_factory=Views)
    regularizers: Regularizers = field(default_factory=Regularizers)
    seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.size)
        if self.num_steps < 1 or not 0 < self.learning_rate < float("inf"):
            raise InputError(
                f"ascent needs at least 1 step and a learning rate above 0 but has {self.num_steps} and "
                f"{self.learning_rate:g}"
            )
        if self.regularizers.change_pixels and self.parametrization != "pixels":
            raise InputError(
                "L2 decay, blur and clipping work on pixels; ask for the parametrisation pixels, or leave them out"
            )


def visualize(model: nn.Module, target: Target, config: AscentConfig, *, watch: Watch = UNWATCHED) -> Synthesis:
    """Climb from noise to a picture that raises the target; losses are the negative values of the target.

    `model` takes images (1, C, H, W) in [0, 1], such as a `PixelModel`, and comes back as it was. The picture depends
    on the seed alone. Where no gradient at all comes through a rectifier, the first steps pass what would wake it up
    (as Lucid does). Raises InputError for a target that the model lacks or a picture too small, NonFiniteLoss for NaN.
    """
    generator = torch.Generator(device_of(model)).manual_seed(config.seed)
    space = image_space(
        config.parametrization,
        config.size,
        config.channels,
        generator,
        decorrelated=config.use_decorrelated_colours,
    )
    optimizer = torch.optim.Adam(space.parameters, lr=config.learning_rate)
    objective = Objective(model, target)
    losses: list[float] = []
    was_stopped = False
    with frozen_float32(model), naming_small_pictures(config.size):
        for step in range(1, config.num_steps + 1):
            losses.append(_climb(space, objective, optimizer, generator, step, config))
            watch.on_step(step, config.num_steps, losses[-1], lambda: to_pixels(space.image()))
            if watch.should_stop():
                was_stopped = step < config.num_steps
                break
    return Synthesis(to_pixels(space.image()), tuple(losses), was_stopped)


def _climb(
    space: PixelSpace | FourierSpace,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
    config: AscentConfig,
) -> float:
    """One step; the loss before it."""
    image = space.image()
    is_last_tenth = step > 0.9 * config.num_steps
    seen = image if is_last_tenth else random_view(image, config.views, generator)
    with waking_rectifiers(objective.model) if step <= _NUM_REDIRECTED else nullcontext():
        loss = -objective(seen)
        if config.regularizers.total_variation:
            loss = loss + config.regularizers.total_variation * total_variation(image)
        gradients = step_gradient(loss, space.parameters, step)
    for parameter, gradient in zip(space.parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    if isinstance(space, PixelSpace):
        regularize(space.deviation, gradients[0], step, config.regularizers)
    return loss.item()


@contextmanager
def waking_rectifiers(model: nn.Module) -> Iterator[None]:
    """A rectifier that lets no gradient of an image through passes the part that raises its input instead."""

    def rule(activation: Any, inputs: Tensor) -> Tensor:
        outputs: Tensor = _Waking.apply(inputs, activation(inputs))
        return outputs

    with changing_activations(model, rule):
        yield


class _Waking(torch.autograd.Function):
    """Identity of the outputs forward; backward, where an image's outputs are all zero, the gradient that raises the
    inputs.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, outputs: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(outputs != 0)  # not the inputs: in-place activations overwrite them
        return outputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (is_awake,) = ctx.saved_tensors
        (gradient,) = gradients
        passed = (gradient * is_awake).flatten(1).abs().sum(dim=1) > 0  # (N,)
        asleep = ~passed.view(-1, *[1] * (gradient.ndim - 1))
        return gradient.clamp(max=0) * asleep, gradient  # of a loss: below zero where a larger input lowers it


@contextmanager
def naming_small_pictures(size: tuple[int, int]) -> Iterator[None]:
    """Torch's errors about kernels larger than their input, which small pictures cause, as an InputError."""
    try:
        yield
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        if "size" not in first.lower() and "shape" not in first.lower():
            raise
        raise InputError(
            f"the network cannot take a picture of {size[0]}x{size[1]} pixels ({first[:120]}); ask for another size"
        ) from None
