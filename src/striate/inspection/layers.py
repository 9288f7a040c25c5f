"""What any network is made of, layer by layer, counted from what runs.

One image goes through a copy of the network that has shapes but no memory (PyTorch's meta device), so that even the
largest network costs little. Where that cannot be, since a layer looks at values, it goes through the network itself.
"""

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from striate.errors import InputError, StriateError
from striate.inspection.counting import count_op_macs, count_params
from striate.networks.modes import evaluating

ROOT = "(network)"
"""The name of the network itself among its layers, where it computes something outside of any of them."""


@dataclass(frozen=True)
class LayerDescription:
    """One module that computes: its name as in `named_modules`, its class, and its counts for one image.

    `output_shape` is that of its last call without the batch, empty if it was never called; `num_params` are its own,
    a shared one counted where it first occurs; `macs` are multiply-adds of all its `num_calls`; `activation_bytes` is
    the new memory that its outputs take, so 0 for views and for what works in place.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_params: int
    macs: int
    activation_bytes: int
    num_calls: int


@dataclass(frozen=True)
class NetworkDescription:
    """A network at `input_size` (C, H, W): its layers in the order in which they first ran, uncalled ones last, and totals."""

    kind: str
    input_size: tuple[int, int, int]
    num_params: int
    num_trainable_params: int
    macs: int
    activation_bytes: int
    layers: tuple[LayerDescription, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; tuples become lists once written."""
        return dataclasses.asdict(self)


def describe_network(network: nn.Module, input_size: tuple[int, int, int]) -> NetworkDescription:
    """The layers and totals of any module that takes images (1, C, H, W), in evaluation mode.

    The module comes back as it was: modes, hooks, gradients, weights. Layers are the modules without children, and
    those with weights or matrix products of their own. Raises InputError when the module cannot take such an image.
    """
    if len(input_size) != 3 or min(input_size) < 1:
        raise InputError(f"an input size is (channels, height, width), each at least 1, but is {tuple(input_size)}")
    network = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    if any(is_lazy(param) for param in network.parameters()):
        raise InputError(f"{type(network).__name__} has lazy layers without shapes; run one batch through it first")
    try:
        record = _run(_without_memory(network), input_size)
    except StriateError:
        raise
    except Exception:  # a module may do anything; what it cannot do without values, it may do with them
        try:
            record = _run(network, input_size)
        except StriateError:
            raise
        except Exception as error:
            size = "x".join(map(str, input_size))
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{type(network).__name__} cannot take an image of {size}: {reason}") from error
    return _describe(network, input_size, record)


class _Record(TorchDispatchMode):
    """What ran, by module name: calls, shapes, bytes, and the multiply-adds of every operator under the innermost module."""

    def __init__(self) -> None:
        super().__init__()
        self.running = [ROOT]
        self.order: dict[str, None] = {}
        self.calls: dict[str, int] = defaultdict(int)
        self.macs: dict[str, int] = defaultdict(int)
        self.bytes: dict[str, int] = defaultdict(int)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.kept: dict[int, Any] = {}  # storages seen, held so that none is taken for another at the same place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket is torch.ops.aten.linear:  # whole in inference mode, else mm or addmm
            return torch.ops.aten.linear.default.decompose(*args, **kwargs)
        output = func(*args, **kwargs)
        self.macs[self.running[-1]] += count_op_macs(func, args, output) or 0
        return output

    def enter(self, name: str) -> None:
        """A module begins."""
        self.running.append(name)
        self.order.setdefault(name)

    def leave(self, name: str, output: Any) -> None:
        """A module ends with this output, or None after an error."""
        self.running.pop()
        self.calls[name] += 1
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if tensors:
            self.shapes[name] = tuple(tensors[0].shape[1:])
        self.bytes[name] += sum(self.see(tensor) for tensor in tensors)

    def see(self, tensor: Tensor) -> int:
        """Bytes of a tensor whose memory is met for the first time, else 0."""
        storage = tensor.untyped_storage()
        if storage._cdata in self.kept:
            return 0
        self.kept[storage._cdata] = storage
        return tensor.numel() * tensor.element_size()


def _run(network: nn.Module, input_size: tuple[int, int, int]) -> _Record:
    """Send one image of zeros through, in evaluation mode, and record it."""
    param = next((p for p in network.parameters() if p.is_floating_point()), None)
    like = torch.empty(0) if param is None else param.detach()
    record = _Record()
    # with a gradient on the input PyTorch's attention takes its plain path, whose products can be seen; the copy may be
    # written in place, which a leaf may not
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network), _watching(network, record):
        image = torch.zeros(1, *input_size, dtype=like.dtype, device=like.device, requires_grad=True).clone()
        record.see(image)
        with record:
            network(image)
    return record


@contextmanager
def _watching(network: nn.Module, record: _Record) -> Iterator[None]:
    """Every module tells the record when it begins and ends; the hooks are gone afterwards, also after an error."""
    handles = []
    try:
        for name, module in network.named_modules():
            key = name or ROOT

            def before(_module: nn.Module, _args: Any, key: str = key) -> None:
                record.enter(key)

            def after(_module: nn.Module, _args: Any, output: Any, key: str = key) -> None:
                record.leave(key, output)

            handles.append(module.register_forward_pre_hook(before, prepend=True))
            handles.append(module.register_forward_hook(after, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without_memory(network: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers are on the meta device; nothing of the original is copied or moved."""
    stand_ins: dict[int, Any] = {}
    for param in network.parameters():
        stand_ins[id(param)] = nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=param.requires_grad)
    for buffer in network.buffers():
        stand_ins[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, stand_ins)


def _describe(network: nn.Module, input_size: tuple[int, int, int], record: _Record) -> NetworkDescription:
    """The record as rows, and the totals."""
    modules = {name or ROOT: module for name, module in network.named_modules()}
    num_params: dict[str, int] = {}
    counted: set[int] = set()
    for name, module in modules.items():
        own = {id(param): param.numel() for param in module.parameters(recurse=False) if id(param) not in counted}
        counted |= set(own)
        num_params[name] = sum(own.values())
    names = [*record.order, *(name for name in modules if name not in record.order and num_params[name])]
    layers = tuple(
        LayerDescription(
            name=name,
            kind=type(modules[name]).__name__,
            output_shape=record.shapes.get(name, ()),
            num_params=num_params[name],
            macs=record.macs[name],
            activation_bytes=record.bytes[name],
            num_calls=record.calls[name],
        )
        for name in names
        if not any(modules[name].children()) or num_params[name] or record.macs[name]
    )
    return NetworkDescription(
        kind=type(network).__name__,
        input_size=input_size,
        num_params=count_params(network),
        num_trainable_params=sum(param.numel() for param in network.parameters() if param.requires_grad),
        macs=sum(record.macs.values()),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        layers=layers,
    )
