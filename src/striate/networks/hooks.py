"""Records and changes a forward pass at named places, for any `nn.Module`; everything is restored afterwards, also
after an error.

A place is a module by its name in `named_modules`, or a function between modules as `describe` names it: `module:kind`,
`:kind` in the network itself, numbered from the second on (`:add.2`). Where a module runs several times `name#2` is its
second call. Functional, reused and in-place activations are seen as they run, since functions are intercepted and not
module classes. Code that Python does not run (TorchScript) is refused by name; compiled parts run as they were written.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.errors import InputError
from striate.networks.function_places import FunctionPlaces, works_in_place
from striate.networks.restore import running_as_written

Change = Callable[[Tensor], Tensor]
"""Takes the output of a place, gives what the network goes on with."""
ActivationRule = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
"""Takes an activation function and its input, gives its output; the gradient is whatever autograd makes of that."""


class Recording(Mapping[str, Tensor]):
    """The outputs of the places asked for, by name, of the last forward pass through each: `recording["layer4"]` (N,
    ...).

    They are part of the autograd graph, so that `torch.autograd.grad(score, recording["layer4"])` gives their
    gradients.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in names}

    def clear(self) -> None:
        """Forget what was recorded: another forward pass begins."""
        for outputs in self.outputs.values():
            outputs.clear()

    def __getitem__(self, name: str) -> Tensor:
        outputs = self.outputs[name]
        if not outputs:
            raise InputError(f"{name} did not run in this forward pass, so there is no output of it")
        if len(outputs) > 1:
            raise InputError(f"{name} ran {len(outputs)} times; name one call: {name}#1 to {name}#{len(outputs)}")
        return outputs[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@contextmanager
def recording(network: nn.Module, *names: str) -> Iterator[Recording]:
    """Record the outputs of these places while the network runs.

    An output is kept as it was: a later in-place function works on a copy. Raises InputError for a name that is no
    place of the network, and on access where a place did not run, or ran several times.
    """
    found = Recording(names)

    def keep(name: str, output: Tensor) -> Tensor:
        found.outputs[name].append(output)
        return output.clone()

    with _intercepting(network, names, keep, on_start=found.clear):
        yield found


@contextmanager
def replacing(network: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Let the network go on with `changes[name](output)` in place of the output of each place `name`."""
    with _intercepting(network, tuple(changes), lambda name, output: changes[name](output)):
        yield


def output_at(network: nn.Module, images: Tensor, name: str) -> Tensor:
    """The output of one place, images (N, C, H, W) -> (N, ...); nothing behind its first call runs. InputError if it
    does not run.
    """

    def stop(_name: str, output: Tensor) -> Tensor:
        raise _Reached(output)

    try:
        with _intercepting(network, (name,), stop):
            network(images)
    except _Reached as reached:
        return reached.output
    raise InputError(f"{name} does not run in a forward pass of {type(network).__name__}")


def outputs_until(network: nn.Module, images: Tensor, names: Sequence[str]) -> list[Tensor]:
    """What the modules `names` give for images (N, C, H, W), in one pass; differentiable. What fails behind the last of
    them is no matter.

    Outputs are not copied: what a later layer does to one in place shows. InputError if one does not run.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        found[name] = _as_tensor(name, output)

    handles = [
        network.get_submodule(name).register_forward_hook(lambda _m, _a, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        network(images)  # to its end, since exporters and compilers cannot follow a pass that is broken off
    except Exception:
        if len(found) < len(names):
            raise
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{', '.join(missing)} does not run in a forward pass of {type(network).__name__}")
    return [found[name] for name in names]


def input_of(network: nn.Module, images: Tensor, name: str) -> Any:
    """The first argument that the module `name` is given when it first runs; nothing from it on is run."""

    def stop(_module: nn.Module, args: tuple[Any, ...]) -> None:
        raise _Reached(args[0])

    handle = network.get_submodule(name).register_forward_pre_hook(stop)
    try:
        network(images)
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise InputError(f"{name} does not run in a forward pass of {type(network).__name__}")


@contextmanager
def changing_activations(network: nn.Module, rule: ActivationRule) -> Iterator[list[str]]:
    """Compute every rectifying activation (ReLU and its relatives) by `rule`, whether a module, a function or in place.

    Yields a list that names each activation as it runs, `module:function`. Sigmoid, tanh and softmax, which gate and do
    not rectify, stay as they are.
    """
    _refuse_scripts(network)
    seen: list[str] = []
    with ExitStack() as stack:
        scopes: list[str] = []
        stack.enter_context(_following_modules(network, scopes))
        stack.enter_context(running_as_written(network))
        stack.enter_context(_Activations(rule, scopes, seen))
        yield seen


@contextmanager
def module_hooks(
    network: nn.Module,
    before: Callable[[str, Any], None],
    after: Callable[[str, Any, Any], Any],
    *,
    include_root: bool = False,
) -> Iterator[None]:
    """Call `before(name, args)` and `after(name, args, output)` around each call of each module inside; TorchScript
    takes no hooks.

    What `after` returns, unless None, replaces the output. It is called after an error too, with the output None.
    """
    handles = []
    try:
        for name, module in network.named_modules():
            if (not name and not include_root) or isinstance(module, torch.jit.ScriptModule):
                continue

            def enter(_module: nn.Module, args: Any, name: str = name) -> None:
                before(name, args)

            def leave(_module: nn.Module, args: Any, output: Any, name: str = name) -> Any:
                return after(name, args, output)

            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):
    """The place that was asked for has run."""

    def __init__(self, output: Any) -> None:
        super().__init__("reached")
        self.output = output


@contextmanager
def _intercepting(
    network: nn.Module,
    names: Sequence[str],
    handle: Callable[[str, Tensor], Tensor],
    on_start: Callable[[], Any] = lambda: None,
) -> Iterator[None]:
    """Pass the outputs of the named places through `handle`."""
    modules = dict(network.named_modules())
    functions = {name for name in names if ":" in name}
    wanted: dict[str, list[str]] = defaultdict(list)  # module -> names of places that are calls of it
    for name in names:
        if name not in functions:
            wanted[_module_of(name, modules, network)].append(name)
    _refuse_scripts(network, wanted, are_functions_wanted=bool(functions))
    calls: dict[str, int] = defaultdict(int)
    scopes: list[str] = []

    def start(_module: nn.Module, _args: Any) -> None:
        calls.clear()
        on_start()

    def change(module_name: str, output: Any) -> Any:
        calls[module_name] += 1
        for name in wanted[module_name]:
            if name in (module_name, f"{module_name}#{calls[module_name]}"):
                output = handle(name, _as_tensor(name, output))
        return output

    with ExitStack() as stack:
        stack.callback(network.register_forward_pre_hook(start, prepend=True).remove)
        for module_name in wanted:
            stack.enter_context(_changing_output(modules[module_name], partial(change, module_name)))
        stack.enter_context(running_as_written(network))
        if functions:
            stack.enter_context(_following_modules(network, scopes))
            places = stack.enter_context(FunctionPlaces(functions, scopes, handle))
            begin = network.register_forward_pre_hook(lambda _, *given: places.begin(given), with_kwargs=True)
            stack.callback(begin.remove)
        yield
        if functions and places.has_run:
            places.check_found()


@contextmanager
def _changing_output(module: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
    """Pass what a module gives through `change`. One that works in place gets a copy of its input, so that its own
    gradient stays as it is, and what comes out is written back: code that ignores the output goes on with the changed
    one too. Tensors of inference mode do not tell whether they were written into, and count as if they were.
    """
    given: list[tuple[Tensor, Tensor, int]] = []

    def enter(_module: nn.Module, args: Any) -> Any:
        given.clear()
        if not (args and isinstance(args[0], Tensor)) or not _may_work_in_place(module):
            return None
        copied = args[0].clone()
        given.append((args[0], copied, 0 if copied.is_inference() else copied._version))
        return (copied, *args[1:])

    def leave(_module: nn.Module, _args: Any, output: Any) -> Any:
        if not given:
            return change(output)
        original, copied, version = given.pop()
        if not copied.is_inference() and copied._version == version:
            return change(output)
        is_returned = output is copied
        changed = change(output)
        original.copy_(changed if is_returned else copied)
        return original if is_returned else changed

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(enter).remove)
        stack.callback(module.register_forward_hook(leave).remove)
        yield


def _may_work_in_place(module: nn.Module) -> bool:
    """Whether a module may write into its input: all but those layers of torch.nn that say they do not."""
    is_plain = type(module).__module__.startswith("torch.nn.modules.") and not any(module.children())
    return bool(getattr(module, "inplace", False)) or not is_plain


def _module_of(name: str, modules: Mapping[str, nn.Module], network: nn.Module) -> str:
    """The module that a place is a call of. InputError with near misses where there is none."""
    module, _, call = name.partition("#")
    if module not in modules or not module or (call and not call.isdecimal()):
        near = difflib.get_close_matches(name, [each for each in modules if each], n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "striate describe lists its layers"
        raise InputError(f"{type(network).__name__} has no layer called {name!r}; {hint}")
    return module


def _as_tensor(name: str, output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise InputError(
            f"{name} gives {type(output).__name__} and not one tensor; name a layer inside it or behind it"
        )
    return output


def _refuse_scripts(network: nn.Module, wanted: Iterable[str] = (), *, are_functions_wanted: bool = True) -> None:
    """Raise InputError where TorchScript hides the functions that run, or the modules `wanted`."""
    for name, module in network.named_modules():
        inside = [each for each in wanted if not name or each.startswith(f"{name}.")]
        if isinstance(module, torch.jit.ScriptModule) and (are_functions_wanted or inside):
            raise InputError(
                f"{name or 'the network'} is TorchScript, whose layers and functions cannot be seen or changed; use "
                "the network it was made from"
            )


@contextmanager
def _following_modules(network: nn.Module, scopes: list[str]) -> Iterator[None]:
    """Keep the names of the modules that are running in `scopes`, the innermost last."""

    def before(name: str, _args: Any) -> None:
        scopes.append(name)

    def after(_name: str, _args: Any, _output: Any) -> None:
        scopes.pop()

    with module_hooks(network, before, after):
        yield


_RECTIFIERS = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu", "elu_",
    "celu", "celu_", "selu", "selu_", "silu", "silu_", "gelu", "gelu_", "mish", "mish_", "hardswish", "hardswish_",
    "softplus",
    "threshold", "threshold_",
}  # fmt: skip


def _is_rectifier(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is an activation that lets positive values pass and holds negative ones back; so is a clamp at
    0.
    """
    name = getattr(func, "__name__", "")
    if name in _RECTIFIERS:
        return True
    if name in ("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"):
        low = args[1] if len(args) > 1 else kwargs.get("min")
        return isinstance(low, int | float) and low == 0
    if name in ("hardtanh", "hardtanh_"):
        return (args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)) == 0
    return False


class _Activations(TorchFunctionMode):
    """Computes rectifying activations by a rule."""

    def __init__(self, rule: ActivationRule, scopes: list[str], seen: list[str]) -> None:
        super().__init__()
        self.rule, self.scopes, self.seen = rule, scopes, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _is_rectifier(func, args, kwargs):
            return func(*args, **kwargs)
        inputs = args[0] if args else kwargs["input"]
        others = {key: value for key, value in kwargs.items() if key != "input"}
        self.seen.append(f"{self.scopes[-1] if self.scopes else ''}:{func.__name__}")

        def activation(values: Tensor) -> Tensor:
            result: Tensor = func(values.clone(), *args[1:], **others)  # it may work in place
            return result

        outputs = self.rule(activation, inputs)
        return inputs.copy_(outputs) if works_in_place(func, args, kwargs) else outputs
