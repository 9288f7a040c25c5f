"""Recording of a forward pass: calls of layers and functions, their cost, inputs and receptive field.

A layer is a module that calls no other one while it runs, such as all of torch.nn's. What runs outside of layers and
makes a new tensor, an addition of two branches say, is a function. Views are neither.
"""

import math
import threading
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from striate.inspection.counting import count_op_macs, is_uncounted
from striate.inspection.receptive_field.index_grid import size_of
from striate.inspection.receptive_field.intervals import UnknownField
from striate.inspection.receptive_field.operator_call import Call
from striate.inspection.receptive_field.tensor_field import TensorField, blank, field_of_image
from striate.inspection.receptive_field.window_ops import fields_of_outputs
from striate.networks.function_places import operator_name
from striate.networks.hooks import module_hooks

ROOT = "(network)"
"""The name of the network itself among its layers, where it is one layer by itself."""


class Step:
    """One call of a layer or function. `name` is that of the layer, or of the module in which the function ran."""

    def __init__(self, name: str, kind: str, *, is_function: bool) -> None:
        self.name, self.kind, self.is_function = name, kind, is_function
        self.macs = 0
        self.bytes = 0
        self.shape: tuple[int, ...] = ()
        self.field: TensorField | None = None
        self.inputs: dict[Step, None] = {}
        self.params: dict[int, None] = {}
        self.into: Step | None = None

    def settled(self) -> "Step":
        """The step that this one has become part of, or itself."""
        return self if self.into is None else self.into.settled()


IMAGE = Step("(image)", "", is_function=False)
"""Stands for the image among what feeds a step."""


class _Origin:
    """Where a tensor comes from: the steps that made it, what it sees, and the weights in it."""

    def __init__(
        self, sources: dict[Step, None], field: TensorField | None, *, depends: bool, params: dict[int, None]
    ) -> None:
        self.sources, self.field, self.depends, self.params = sources, field, depends, params
        self.version = 0


class _Scope:
    """A module that is running."""

    def __init__(self, name: str, step: Step | None) -> None:
        self.name, self.step = name, step
        self.has_calls = False
        self.steps: list[Step] = []


class Recorder(TorchDispatchMode):
    """Watches operators and modules: `steps` in the order in which they ran, how often each module was called.

    `notices` say what could not be seen. `in_place` names the modules that wrote into what another layer had made.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.calls: dict[str, int] = defaultdict(int)
        self.notices: dict[str, str] = {}
        self.in_place: dict[str, None] = {}
        self._modules = {name or ROOT: module for name, module in network.named_modules()}
        self._scopes: list[_Scope] = []
        self._thread, self._has_other_threads = threading.get_ident(), False
        self._is_meta = image.is_meta
        self._owners: dict[int, Step | None] = {_place(image)[0]: None}
        self._versions: dict[int, int] = {}
        self._by_object: dict[int, tuple[Tensor, _Origin]] = {}
        self._by_place: dict[tuple[Any, ...], _Origin] = {}
        field = field_of_image(image.shape)
        self._extents = field.extents
        self._params: dict[int, list[nn.Parameter]] = defaultdict(list)
        for param in network.parameters():
            self._params[_place(param)[0]].append(param)
        self._constants = {_place(tensor)[0] for tensor in _tensors_of(network)}
        self._remember(image, _Origin({IMAGE: None}, field, depends=True, params={}))

    @property
    def params(self) -> dict[int, list[nn.Parameter]]:
        """The network's parameters by the numbers under which steps name them; those in one piece of memory share
        one.
        """
        return self._params

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # where composite operators arrive whole
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        output = func(*args, **kwargs)
        try:
            self._follow(func, args, kwargs, output)
        except Exception:  # watching must not break what is watched
            name = f"{func.namespace}.{func.overloadpacket.__name__}"
            self.notices.setdefault(
                f"lost {name}", f"the operator {name} could not be followed in {self._scopes[-1].name}"
            )
            for tensor in tree_leaves(output):
                if isinstance(tensor, Tensor):
                    self._by_object[id(tensor)] = (tensor, _Origin({}, None, depends=True, params={}))
        return output

    # modules

    def enter(self, name: str) -> None:
        """A module begins."""
        if self._is_elsewhere(name):
            return
        for scope in self._scopes[-1:]:
            scope.has_calls = True
        module = self._modules[name]
        is_layer = not any(module.children()) and (name != ROOT or type(module).__module__.startswith("torch.nn."))
        step = self._begin(name, type(module).__name__, is_function=False) if is_layer else None
        self._scopes.append(_Scope(name, step))

    def leave(self, name: str, output: Any) -> Any:
        """A module ends with this output, or None after an error; gives what should stand in for it, None for
        itself.
        """
        if self._is_elsewhere(name):
            return None
        scope = self._scopes.pop()
        self.calls[name] += 1
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if scope.step is None and scope.steps and not scope.has_calls and name != ROOT:
            scope.step = self._merge(scope)
        if self._scopes and scope.step is None:
            self._scopes[-1].steps += scope.steps
        if scope.step is None or not tensors:
            return None
        step = scope.step
        origin = self._origin(tensors[0])
        step.shape, step.field = tuple(tensors[0].shape[1:]), origin.field
        for tensor in tensors:
            self._own(tensor, step)
        if output is tensors[0] and step not in origin.sources:  # handed through: a view tells it from what came in
            step.inputs |= origin.sources
            if not self._scopes:  # the network itself, whose output nobody takes in
                return None
            output = output.view_as(output)
            self._remember(output, _Origin({step: None}, origin.field, depends=origin.depends, params=origin.params))
            return output
        return None

    def _is_elsewhere(self, name: str) -> bool:
        """Whether a module runs in another thread, where operators are not seen."""
        if threading.get_ident() == self._thread:
            return False
        self._has_other_threads = True
        self.notices.setdefault(
            f"thread {name}", f"{name} runs in a thread of its own: its multiply-adds and what it sees are not counted"
        )
        return True

    def _begin(self, name: str, kind: str, *, is_function: bool) -> Step:
        step = Step(name, kind, is_function=is_function)
        self.steps.append(step)
        for scope in self._scopes[-1:]:
            scope.steps.append(step)
        return step

    def _merge(self, scope: _Scope) -> Step:
        """One step for a module that only calls functions."""
        whole = Step(scope.name, type(self._modules[scope.name]).__name__, is_function=False)
        self.steps[self.steps.index(scope.steps[0])] = whole
        self.steps = [step for step in self.steps if step not in scope.steps]
        for step in scope.steps:
            step.into = whole
            whole.macs += step.macs
            whole.inputs |= step.inputs
            whole.params |= step.params
        self._owners = {key: owner for key, owner in self._owners.items() if owner not in scope.steps}
        for parent in self._scopes[-1:]:
            parent.steps.append(whole)
        return whole

    # operators

    def _follow(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """One operator ran: count it, and remember where its outputs come from."""
        outputs = [
            leaf for leaf in (output if isinstance(output, tuple | list) else [output]) if isinstance(leaf, Tensor)
        ]
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        origins = [self._origin(tensor) for tensor in inputs]
        if not outputs:
            if func.overloadpacket.__name__ in _VALUE_TAKERS and any(origin.depends for origin in origins):
                self._note_value()
            return
        fields, depends = self._fields(func, args, kwargs, output, origins)
        if masks_out(func, args):
            self.note_mask(self._scopes[-1].name)
        macs = count_op_macs(func, args, output) or 0
        if is_uncounted(func, any(_place(tensor)[0] in self._params for tensor in inputs)):
            where = f"{self._scopes[-1].name}: {func.namespace}::{func.overloadpacket.__name__}"
            self.notices.setdefault(f"macs {func}", f"multiply-adds of this operator are not counted, in {where}")
        scope, writes = self._scopes[-1], func._schema.is_mutable
        step = scope.step
        is_new = not {_place(tensor)[0] for tensor in outputs} <= {*self._owners, *(_place(each)[0] for each in inputs)}
        if step is None and (macs or (depends and (is_new or writes))):
            step = self._begin(scope.name, operator_name(func), is_function=True)
        sources = {source: None for origin in origins for source in origin.sources}
        if writes and any(source is not step and not source.is_function for source in self._origin(outputs[0]).sources):
            self.in_place.setdefault(scope.name)
        params = {param: None for origin in origins for param in origin.params}
        if step is not None:
            step.macs += macs
            step.inputs |= sources
            step.params |= params
            if step.is_function:
                step.shape, step.field = tuple(outputs[0].shape[1:]), fields[0]
                for tensor in outputs if isinstance(output, list) else outputs[:1]:
                    self._own(tensor, step)
            sources, params = {step: None}, {}
        for place, tensor in enumerate(outputs):
            field = fields[place] if place < len(fields) else None
            if writes and depends:  # units overwritten by constants see less, and the others what they saw
                self._rewrite(tensor)
            self._remember(tensor, _Origin(sources, field, depends=depends, params=params))

    def _fields(
        self, func: Any, args: Any, kwargs: Any, output: Any, origins: list[_Origin]
    ) -> tuple[list[TensorField | None], bool]:
        """Receptive fields of the outputs, None where unknown, and whether they depend on the image."""
        if not any(origin.depends for origin in origins):
            return [
                blank(tensor.shape, self._extents) for tensor in tree_leaves(output) if isinstance(tensor, Tensor)
            ], False
        if func.namespace not in ("aten", "prims"):
            where = f"{self._scopes[-1].name}: {func.namespace}::{func.overloadpacket.__name__}"
            self.notices.setdefault(
                f"macs {func}", f"multiply-adds of an operator that is not known are not counted, in {where}"
            )
        if any(origin.field is None for origin in origins):
            return [None], True
        try:
            call = Call(func, args, kwargs, output, self._look, self._extents)
            fields = fields_of_outputs(call)
            first = output[0] if isinstance(output, tuple | list) else output
            if [size_of(atoms) for atoms in fields[0].dims] != list(first.shape):
                raise UnknownField("could not be followed")
        except Exception as error:  # whatever a rule did not expect must not become a number
            reason = str(error) if isinstance(error, UnknownField) else "could not be followed"
            name = f"{func.namespace}.{func.overloadpacket.__name__}"
            self.notices.setdefault(
                f"field {name}",
                f"receptive fields are unknown from {self._scopes[-1].name} on: the operator {name} {reason}",
            )
            return [None], True
        return list(fields), any(fields[0].axes)

    def _look(self, tensor: Tensor) -> TensorField:
        field = self._origin(tensor).field
        if field is None:
            raise UnknownField("takes what is unknown")
        return field

    def note_mask(self, name: str) -> None:
        """Say that the field of what is masked out by values is not taken off."""
        self.notices.setdefault(
            "mask",
            f"{name} masks by values: receptive fields are told as if nothing were masked, so with causal attention, "
            "where row i sees rows 0 to i, they hold for the last row",
        )

    def _note_value(self) -> None:
        self.notices.setdefault(
            "value",
            f"{self._scopes[-1].name} takes a value out of a tensor: what depends on that value is not followed",
        )

    # tensors

    def _origin(self, tensor: Tensor) -> _Origin:
        """Where a tensor comes from, by the object it is or by its place in memory."""
        place = _place(tensor)
        found = self._by_object.get(id(tensor), (None, None))[1] or self._by_place.get(place)
        if found is None:
            found = self._foreign(tensor, place[0])
            self._remember(tensor, found)
        if found.version != self._versions.get(place[0], 0):  # written to through another view
            latest = self._by_place.get(place)
            if latest is not None and latest.version == self._versions[place[0]]:
                return latest
            self.notices.setdefault(
                "view",
                f"receptive fields are unknown from {self._scopes[-1].name} on: a part of a tensor was written to",
            )
            return _Origin(found.sources | self._owner(place[0]), None, depends=True, params=found.params)
        return found

    def _owner(self, storage: int) -> dict[Step, None]:
        owner = self._owners.get(storage)
        return {} if owner is None else {owner: None}

    def _foreign(self, tensor: Tensor, storage: int) -> _Origin:
        """A tensor that no operator made: a weight, a constant, or something from outside of PyTorch."""
        params = {storage: None} if storage in self._params else {}
        is_known = storage in self._constants or (self._is_meta and storage > 0 and not self._has_other_threads)
        if not is_known:
            self.notices.setdefault(
                "foreign",
                f"receptive fields are unknown from {self._scopes[-1].name} on: a tensor there was not made by "
                "PyTorch's operators",
            )
        return _Origin(
            {}, blank(tensor.shape, self._extents) if is_known else None, depends=not is_known, params=params
        )

    def _remember(self, tensor: Tensor, origin: _Origin) -> None:
        place = _place(tensor)
        origin.version = self._versions.get(place[0], 0)
        self._by_object[id(tensor)] = (tensor, origin)  # held, so that no other comes to its place
        self._by_place[place] = origin

    def _rewrite(self, tensor: Tensor) -> None:
        """Every other view of its memory is out of date."""
        storage = _place(tensor)[0]
        self._versions[storage] = self._versions.get(storage, 0) + 1

    def _own(self, tensor: Tensor, step: Step) -> None:
        """Count the memory of a tensor for a step if it is met for the first time."""
        storage = _place(tensor)[0]
        if storage not in self._owners and storage not in self._constants:
            self._owners[storage] = step
            step.bytes += tensor.numel() * tensor.element_size()


def watching(network: nn.Module, recorder: Recorder) -> AbstractContextManager[None]:
    """Every module in the network tells the recorder when it begins and ends. What TorchScript runs counts for the
    module around it.
    """

    def before(name: str, _args: Any) -> None:
        recorder.enter(name)

    def after(name: str, _args: Any, output: Any) -> Any:
        return recorder.leave(name, output)

    return module_hooks(network, before, after)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies: its memory, and which part of that; those without memory of their own are places
    themselves.
    """
    try:
        return (tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape, tensor.stride())
    except (RuntimeError, NotImplementedError):  # sparse ones, and those inside of torch.func
        return (-id(tensor), 0, tensor.shape, ())


def _tensors_of(network: nn.Module) -> list[Tensor]:
    """Parameters, buffers and tensors kept as plain attributes."""
    found = [*network.parameters(), *network.buffers()]
    for module in network.modules():
        plain = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        found += [leaf for leaf in tree_leaves(plain) if isinstance(leaf, Tensor)]
    return found


def masks_out(func: Any, args: Any) -> bool:
    """Whether an operator puts minus infinity in places that a mask chooses, or makes a tensor of it, as attention does
    with masks.
    """
    name = func.overloadpacket.__name__.rstrip("_")
    place = {"masked_fill": 2, "full": 1, "scalar_tensor": 0, "fill": 1}.get(name)
    value = None if place is None or len(args) <= place else args[place]
    return isinstance(value, int | float) and value == -math.inf


_VALUE_TAKERS = {"_local_scalar_dense", "item", "is_nonzero", "equal"}
"""Operators that answer with a number instead of a tensor."""
