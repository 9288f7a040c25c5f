"""Outputs and layers of a network during an optimisation over pixels; nothing of it is changed.

N images, C channels, H x W pixels, K classes. A model here is any `nn.Module` from images (N, C, H, W) float in [0, 1];
of a `PixelModel` the layers are those of the network inside.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from striate.errors import InputError, NonFiniteLoss
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.hooks import output_at, recording, replacing
from striate.networks.restore import frozen
from striate.tasks.classification.logits import class_logits
from striate.tasks.pixel_model import PixelModel


@contextmanager
def frozen_float32(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients for the weights, compiled parts as written; all as before afterwards, also after an
    error.

    Raises InputError for a network whose weights are not float32, which gives no useful gradient.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise InputError(f"{name} is {parameter.dtype} but float32 is needed; call .float() on the network first")
    for name, module in model.named_modules():
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized", "torchao")):
            raise InputError(f"{name or 'the network'} is quantised and gives no gradient; use the float32 network")
    with frozen(model):
        yield


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters lie; the CPU where it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Unnormalised scores (N, K) of images (N, C, H, W). InputError where the model gives anything else."""
    outputs = model(images)
    if isinstance(outputs, WithAuxiliary | Tensor):
        logits = class_logits(outputs) if isinstance(outputs, WithAuxiliary) or outputs.ndim == 2 else outputs
        if logits.ndim == 2:
            return logits
        raise InputError(f"the network gives {tuple(logits.shape)} and not scores (N, K); name a layer instead")
    raise InputError(f"the network gives {type(outputs).__name__} and not scores (N, K); name a layer instead")


class Layers:
    """The outputs of several layers of a model for a batch of images; what lies behind the last of them is not run."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        if not names:
            raise InputError("at least one layer is needed; striate describe lists them")
        self.network = model.network if isinstance(model, PixelModel) else model
        self.inputs_of = model.inputs if isinstance(model, PixelModel) else None
        self.names = tuple(dict.fromkeys(names))
        self.last: str | None = None

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, C, H, W) in [0, 1] -> the output of each layer by name, in the order in which they were named."""
        inputs = images if self.inputs_of is None else self.inputs_of(images)
        inputs = inputs.contiguous(
            memory_format=torch.channels_last
        )  # convolutions and pools are faster so on every processor
        self.last = self.last or self._find_last(inputs)
        if len(self.names) == 1:
            return {self.last: output_at(self.network, inputs, self.last)}
        with recording(self.network, *(name for name in self.names if name != self.last)) as seen:
            last = output_at(self.network, inputs, self.last)
        return {name: last if name == self.last else seen[name] for name in self.names}

    def _find_last(self, inputs: Tensor) -> str:
        """The layer that runs last, by one forward pass. InputError where one does not run, or runs several times."""
        order: list[str] = []

        def note(name: str) -> Callable[[Tensor], Tensor]:
            def change(output: Tensor) -> Tensor:
                order.append(name)
                return output

            return change

        with torch.no_grad(), replacing(self.network, {name: note(name) for name in self.names}):
            self.network(inputs)
        for name in self.names:
            count = order.count(name)
            if count == 0:
                raise InputError(f"{name} does not run in a forward pass of {type(self.network).__name__}")
            if count > 1:
                raise InputError(f"{name} runs {count} times; name one call: {name}#1 to {name}#{count}")
        return order[-1]


def step_gradient(loss: Tensor, parameters: Sequence[Tensor], step: int) -> list[Tensor]:
    """The gradients of a loss by each parameter. InputError where none arrives, NonFiniteLoss where they are not
    finite.
    """
    if not loss.requires_grad:
        raise InputError(
            "no gradient reaches the picture: the network detaches or rounds on the way; use its float32 form"
        )
    if not loss.isfinite():
        raise NonFiniteLoss(
            f"the loss is {loss.item()} at step {step}; lower the learning rate or the weights of its terms"
        )
    gradients = list(torch.autograd.grad(loss, list(parameters)))
    if not all(gradient.isfinite().all() for gradient in gradients):
        raise NonFiniteLoss(
            f"the gradient became NaN or infinite at step {step}; choose another layer, or lower the learning rate"
        )
    return gradients
