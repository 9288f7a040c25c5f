"""Which channels of which layers must go together, found by following every channel through one forward pass of any
module.

Each channel that a convolution or dense layer makes gets a number. Beside every tensor goes an array of numbers of the
same shape, which says whose channel each element is. Functions that only move elements (views, permutations,
concatenation, splits) move the numbers alike; sums and products of two tensors tie their channels together; what is not
understood protects its channels from pruning, and so do the image and the output.
"""

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from striate.networks.auxiliary import WithAuxiliary
from striate.networks.hooks import module_hooks
from striate.networks.restore import evaluating, keeping_randomness

PROTECTED = 0
_MOVES = {
    "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "expand", "cat", "concat",
    "stack", "contiguous", "clone", "chunk", "split", "unbind", "movedim", "detach", "pad", "expand_as",
    "unflatten", "tensor_split", "view_as", "t", "__getitem__", "narrow",
}  # fmt: skip
_SAME = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
    "hardtanh", "sigmoid", "tanh", "clamp", "clamp_", "dropout", "dropout2d", "dropout_", "feature_dropout",
    "alpha_dropout", "softmax", "log_softmax", "float", "to", "type", "square", "sqrt", "abs", "exp", "neg", "pow",
    "local_response_norm", "sigmoid_", "tanh_", "softplus", "clamp_min", "celu", "hardtanh_", "elu_", "leaky_relu_",
    "silu_", "half", "bfloat16", "rsqrt", "reciprocal",
}  # fmt: skip
_PAIRS = {
    "add", "add_", "__add__", "__iadd__", "__radd__", "sub", "__sub__", "__rsub__", "__isub__", "mul", "mul_",
    "__mul__", "__rmul__", "__imul__", "div", "div_", "__truediv__", "maximum", "minimum", "max", "min", "addcmul",
    "lerp", "sub_",
}  # fmt: skip
_POOLS = {
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "_max_pool2d", "boolean_dispatch",
    "interpolate", "mean", "sum", "amax", "lp_pool2d", "fractional_max_pool2d",
}  # fmt: skip


@dataclass
class Layer:
    """The numbers of the channels that a layer takes and gives, one for each."""

    inputs: list[int]
    outputs: list[int]


@dataclass
class Channels:
    """What a trace found: each layer's channels; `group_of(number)` is the number that stands for all channels that
    must go together.
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=lambda: [PROTECTED])

    def new(self, count: int) -> list[int]:
        """Numbers for so many new channels."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        return list(range(first, first + count))

    def group_of(self, number: int) -> int:
        """The number that stands for its group; PROTECTED where its channels must stay."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def tie(self, first: int, second: int) -> None:
        """Two channels must go together."""
        one, other = sorted((self.group_of(first), self.group_of(second)))
        self._parents[other] = one

    def tie_arrays(self, first: Tensor, second: Tensor) -> None:
        """The channels at the same places of two arrays must go together."""
        pairs = torch.stack([first.reshape(-1), second.reshape(-1)], 1).unique(dim=0)
        for one, other in pairs.tolist():
            self.tie(one, other)

    def protect(self, numbers: Tensor) -> None:
        """These channels must stay."""
        for number in numbers.unique().tolist():
            self.tie(PROTECTED, number)


def trace_channels(network: nn.Module, images: Tensor) -> Channels:
    """Follow the channels of any module through a forward pass of one image (1, C, H, W), in evaluation mode. It comes
    back as it was.

    Layers that do not run there, such as auxiliary heads, are followed in training mode, on a copy.
    """
    tracer = _Tracer()
    with keeping_randomness(network), evaluating(network):
        tracer.follow(network, images)
    if any(_is_leaf(each) and name not in tracer.channels.layers for name, each in network.named_modules()):
        trained = copy.deepcopy(network).train()
        with keeping_randomness(network), contextlib.suppress(RuntimeError, ValueError):  # norms may want more images
            tracer.follow(trained, images.expand(2, -1, -1, -1))
    return tracer.channels


def _is_leaf(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm)


class _Tracer(TorchFunctionMode):
    """Moves the arrays of numbers along."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = Channels()
        self.depth = 0
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def follow(self, network: nn.Module, images: Tensor) -> None:
        """One forward pass."""
        names: dict[str, nn.Module] = dict(network.named_modules())

        def before(name: str, _args: Any) -> None:
            self.depth += _is_leaf(names[name])

        def after(name: str, args: Any, output: Any) -> None:
            if _is_leaf(names[name]):
                self.depth -= 1
                if isinstance(output, Tensor):
                    self.layer(name, names[name], args[0], output)

        with torch.no_grad(), module_hooks(network, before, after):
            self.keep(images, torch.zeros(images.shape, dtype=torch.int64))
            with self:
                answer = network(images)
        logits = [answer.logits, *answer.auxiliary] if isinstance(answer, WithAuxiliary) else [answer]
        for each in logits:
            if isinstance(each, Tensor) and (ids := self.ids(each)) is not None:
                self.channels.protect(ids)
        self._seen.clear()

    def keep(self, tensor: Tensor, ids: Tensor) -> None:
        self._seen[id(tensor)] = (tensor, ids)  # the tensor too, so that its place in memory is not given to another

    def ids(self, tensor: Any) -> Tensor | None:
        found = self._seen.get(id(tensor))
        return None if found is None else found[1]

    def layer(self, name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        """A convolution, dense layer or batch norm has run."""
        with torch._C.DisableTorchFunction():
            ids = self.ids(given)
            if ids is None:
                ids = torch.zeros(given.shape, dtype=torch.int64)
            axis = given.ndim - 1 if isinstance(module, nn.Linear) else 1
            taken = self._channel_numbers(ids, axis)
            made = self._made(name, module, taken)
            shape = [1] * output.ndim
            shape[axis] = len(made)
            self.keep(output, torch.tensor(made).reshape(shape).expand(output.shape))

    def _made(self, name: str, module: nn.Module, taken: list[int]) -> list[int]:
        """The numbers of what a layer gives; its ties are noted."""
        channels, known = self.channels, self.channels.layers.get(name)
        if known is not None:
            for one, other in zip(known.inputs, taken, strict=True):
                channels.tie(one, other)
            return known.outputs
        if isinstance(module, _BatchNorm):
            made = taken
        elif isinstance(module, nn.Conv2d) and module.groups > 1:
            per_group, num_made = module.in_channels // module.groups, module.out_channels // module.groups
            if per_group == 1:
                made = [number for number in taken for _ in range(num_made)]
            else:
                for place, number in enumerate(taken):
                    channels.tie(taken[place % per_group], number)
                made = channels.new(num_made) * module.groups
        else:
            made = channels.new(module.out_features if isinstance(module, nn.Linear) else module.out_channels)  # type: ignore[arg-type]
        channels.layers[name] = Layer(taken, made)
        return made

    def _channel_numbers(self, ids: Tensor, axis: int) -> list[int]:
        """One number for each channel along an axis; where places differ they are tied."""
        rows = ids.movedim(axis, 0).reshape(ids.shape[axis], -1)
        if bool((rows != rows[:, :1]).any()):
            self.channels.tie_arrays(rows[:, :1].expand(rows.shape), rows)
        numbers: list[int] = rows[:, 0].tolist()
        return numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.depth or not isinstance(output, Tensor | tuple | list):
            return output
        with torch._C.DisableTorchFunction():
            given = [each for each in _tensors((args, kwargs)) if self.ids(each) is not None]
            if given:
                self._follow(func, args, kwargs, given, output)
        return output

    def _follow(self, func: Any, args: Any, kwargs: Mapping[str, Any], given: Sequence[Tensor], output: Any) -> None:
        name = getattr(func, "__name__", "")
        outputs = _tensors(output)
        found = None
        others = [each for each in _tensors((args, kwargs)) if self.ids(each) is None and each.numel() > 1]
        if not others:
            found = self._numbers_after(name, func, args, kwargs, given, outputs)
        if found is None or len(found) != len(outputs):
            for each in given:
                self.channels.protect(self._ids_of(each))
            found = [torch.zeros(each.shape, dtype=torch.int64) for each in outputs]
        for tensor, ids in zip(outputs, found, strict=True):
            self.keep(tensor, ids)

    def _numbers_after(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: Mapping[str, Any],
        given: Sequence[Tensor],
        outputs: Sequence[Tensor],
    ) -> list[Tensor] | None:
        """The arrays of the outputs; None where the function is not understood."""
        first = self._ids_of(given[0])
        if name in _PAIRS and len(given) > 1:
            arrays = torch.broadcast_tensors(*(self._ids_of(each) for each in given))
            for other in arrays[1:]:
                self.channels.tie_arrays(arrays[0], other)
            return [arrays[0]] if arrays[0].shape == outputs[0].shape else None
        if name in _SAME or (name in _PAIRS and first.shape == outputs[0].shape):
            return [first] if first.shape == outputs[0].shape else None
        if name in _MOVES:
            moved = self._moved(func, args, kwargs)
            if name in ("chunk", "split", "tensor_split", "unbind"):
                self._tie_parts(moved)
            elif (
                name in ("__getitem__", "narrow")
                and moved[0].ndim == first.ndim
                and moved[0].shape[1] != first.shape[1]
            ):
                return None  # a part of the channels, by numbers that stay what they are
            elif first.ndim == 4 and moved[0].ndim == 5 and name in ("view", "reshape", "unflatten"):
                self._tie_parts(list(moved[0].unbind(1)))
            return moved
        if name in _POOLS and first.ndim == outputs[0].ndim == 4 and first.shape[1] == outputs[0].shape[1]:
            numbers = torch.tensor(self._channel_numbers(first, 1))
            return [numbers.reshape(1, -1, 1, 1).expand(each.shape) for each in outputs[:1]] + [
                torch.zeros(each.shape, dtype=torch.int64) for each in outputs[1:]
            ]
        if (
            name in ("mean", "sum", "amax")
            and first.ndim == 4
            and outputs[0].ndim == 2
            and outputs[0].shape[1] == first.shape[1]
        ):
            return [torch.tensor(self._channel_numbers(first, 1))[None].expand(outputs[0].shape)]
        if (
            name in ("amax", "max")
            and first.ndim == 5
            and outputs[0].ndim == 4
            and first.shape[1] == outputs[0].shape[1]
        ):
            self._tie_parts(list(first.unbind(2)))  # maxout: of several candidates one goes on
            return [first[:, :, 0]] + [torch.zeros(each.shape, dtype=torch.int64) for each in outputs[1:]]
        return None

    def _moved(self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
        """The same movement of the numbers."""
        values = {key: value for key, value in kwargs.items() if key != "value"}
        moved = func(*_mapped(args, self._ids_of), **_mapped(values, self._ids_of))
        return _tensors(moved)

    def _tie_parts(self, parts: Sequence[Tensor]) -> None:
        """Parts of equal shape must lose the same channels; those of other shapes none."""
        if len({part.shape for part in parts}) > 1:
            for part in parts:
                self.channels.protect(part)
            return
        for part in parts[1:]:
            self.channels.tie_arrays(parts[0], part)

    def _ids_of(self, tensor: Tensor) -> Tensor:
        found = self.ids(tensor)
        return torch.zeros(tensor.shape, dtype=torch.int64) if found is None else found


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return _tensors(list(value.values()))
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_mapped(part, change) for part in value)
    return value
