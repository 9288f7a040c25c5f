"""Records and changes a forward pass at named places, for any `nn.Module`; everything is restored afterwards, also after an error.

A place is a module by its name in `named_modules`, or a function between modules as `describe` names it: `module:kind`,
`:kind` in the network itself, numbered from the second on (`:add.2`). Where a module runs several times `name#2` is its
second call. Functional, reused and in-place activations are seen as they run, since functions are intercepted and not
module classes. Code that Python does not run (TorchScript) is refused by name; compiled parts run as they were written.
"""

import difflib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from striate.errors import InputError

Change = Callable[[Tensor], Tensor]
"""Takes the output of a place, gives what the network goes on with."""
ActivationRule = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
"""Takes an activation function and its input, gives its output; the gradient is whatever autograd makes of that."""


class Recording(Mapping[str, Tensor]):
    """The outputs of the places asked for, by name, of the last forward pass through each: `recording["layer4"]` (N, ...).

    They are part of the autograd graph, so that `torch.autograd.grad(score, recording["layer4"])` gives their gradients.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in names}

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

    An output is kept as it was: a later in-place function works on a copy. Raises InputError for a name that is no place
    of the network, and on access where a place did not run, or ran several times.
    """
    found = Recording(names)

    def keep(name: str, output: Tensor) -> Tensor:
        found.outputs[name].append(output)
        return output.clone()

    def forget() -> None:
        for each in found.outputs.values():
            each.clear()

    with _intercepting(network, names, keep, on_start=forget):
        yield found


@contextmanager
def replacing(network: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Let the network go on with `changes[name](output)` in place of the output of each place `name`."""
    with _intercepting(network, tuple(changes), lambda name, output: changes[name](output)):
        yield


def output_at(network: nn.Module, images: Tensor, name: str) -> Tensor:
    """The output of one place, images (N, C, H, W) -> (N, ...); nothing behind its first call runs. InputError if it does not run."""

    def stop(_name: str, output: Tensor) -> Tensor:
        raise _Reached(output)

    try:
        with _intercepting(network, (name,), stop):
            network(images)
    except _Reached as reached:
        return reached.output
    raise InputError(f"{name} does not run in a forward pass of {type(network).__name__}")


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

    Yields a list that names each activation as it runs, `module:function`. Sigmoid, tanh and softmax, which gate and do not
    rectify, stay as they are.
    """
    _refuse_scripts(network)
    seen: list[str] = []
    with ExitStack() as stack:
        scopes: list[str] = []
        stack.enter_context(_following_modules(network, scopes))
        stack.enter_context(_running_as_written(network))
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
    """Call `before(name, args)` and `after(name, args, output)` around each call of each module inside; TorchScript takes no hooks.

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
    calls: dict[str, int] = defaultdict(int)
    functions = [name for name in names if ":" in name]
    wanted: dict[str, list[str]] = defaultdict(list)  # module -> names of places that are calls of it
    for name in names:
        if ":" not in name:
            wanted[_module_of(name, modules, network)].append(name)
    if functions:
        _refuse_scripts(network)
    scopes: list[str] = []

    def start(_module: nn.Module, _args: Any) -> None:
        calls.clear()
        on_start()

    def leave(module_name: str) -> Callable[..., Any]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            calls[module_name] += 1
            for name in wanted[module_name]:
                if name in (module_name, f"{module_name}#{calls[module_name]}"):
                    output = handle(name, _as_tensor(name, output))
            return output

        return hook

    with ExitStack() as stack:
        stack.callback(network.register_forward_pre_hook(start, prepend=True).remove)
        for module_name in wanted:
            stack.callback(modules[module_name].register_forward_hook(leave(module_name)).remove)
        stack.enter_context(_running_as_written(network))
        if functions:
            stack.enter_context(_following_modules(network, scopes))
            interceptor = stack.enter_context(_Functions(set(functions), scopes, handle))
            stack.callback(
                network.register_forward_pre_hook(lambda *_: interceptor.counts.clear(), prepend=True).remove
            )
        yield
        if functions and interceptor.has_run:
            interceptor.check_found()


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


def _refuse_scripts(network: nn.Module) -> None:
    """Raise InputError where TorchScript hides the functions that run."""
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"{name or 'the network'} is TorchScript, whose functions cannot be seen or changed; use the network it was made from"
            )


@contextmanager
def _running_as_written(network: nn.Module) -> Iterator[None]:
    """Parts that torch.compile wraps run without it: compiled code calls no hooks."""
    is_compiled = any(hasattr(each, "_orig_mod") or each._compiled_call_impl for each in network.modules())
    if not is_compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _following_modules(network: nn.Module, scopes: list[str]) -> Iterator[None]:
    """Keep the names of the modules that are running in `scopes`, the innermost last."""

    def before(name: str, _args: Any) -> None:
        scopes.append(name)

    def after(_name: str, _args: Any, _output: Any) -> None:
        scopes.pop()

    with module_hooks(network, before, after):
        yield


class _Functions(TorchFunctionMode):
    """Passes the outputs of the named functions between modules through `handle`."""

    def __init__(self, names: set[str], scopes: list[str], handle: Callable[[str, Tensor], Tensor]) -> None:
        super().__init__()
        self.names, self.scopes, self.handle = names, scopes, handle
        self.counts: dict[str, int] = defaultdict(int)
        self.seen: dict[str, None] = {}
        self.has_run = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if not isinstance(output, Tensor) or not isinstance(func, Callable):  # type: ignore[arg-type]
            return output
        self.has_run = True
        name = f"{self.scopes[-1] if self.scopes else ''}:{_kind(func, args, kwargs or {})}"
        self.counts[name] += 1
        if self.counts[name] > 1:
            name = f"{name}.{self.counts[name]}"
        self.seen.setdefault(name)
        return self.handle(name, output) if name in self.names else output

    def check_found(self) -> None:
        """Raise InputError for a name under which nothing ran."""
        for name in self.names - self.seen.keys():
            near = difflib.get_close_matches(name, self.seen, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "striate describe lists layers and functions"
            raise InputError(f"no function called {name!r} ran in the network; {hint}")


_SAME = {"truediv": "div", "floordiv": "floor_divide", "concat": "cat", "concatenate": "cat"}


def _kind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The name under which `describe` lists a function: its operator's, with an underscore where it works in place."""
    name = getattr(func, "__name__", type(func).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        is_in_place = name.startswith("i") and name[1:] in ("add", "sub", "mul", "truediv", "and", "or", "xor", "pow")
        plain = name[1:] if is_in_place else name.removeprefix("r") if name in ("radd", "rmul") else name
        return _SAME.get(plain, plain) + "_" * is_in_place
    name = _SAME.get(name, name)
    return name + "_" if _works_in_place(func, args, kwargs) and not name.endswith("_") else name


def _works_in_place(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes its result into its first argument."""
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    if getattr(func, "__name__", "").endswith("_") and not getattr(func, "__name__", "").startswith("__"):
        return True
    if getattr(func, "__module__", "") != F.__name__:
        return False
    names = list(inspect.signature(func).parameters)
    place = names.index("inplace") if "inplace" in names else len(args)
    return place < len(args) and bool(args[place])


_RECTIFIERS = {
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu", "elu_",
    "celu", "celu_", "selu", "selu_", "silu", "silu_", "gelu", "gelu_", "mish", "mish_", "hardswish", "hardswish_", "softplus",
    "threshold", "threshold_",
}  # fmt: skip


def _is_rectifier(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is an activation that lets positive values pass and holds negative ones back; so is a clamp at 0."""
    name = getattr(func, "__name__", "")
    if name in _RECTIFIERS:
        return True
    if name in ("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"):
        low = args[1] if len(args) > 1 else kwargs.get("min")
        return isinstance(low, int | float) and low == 0
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
        self.seen.append(f"{self.scopes[-1] if self.scopes else ''}:{_kind(func, args, kwargs)}")

        def activation(values: Tensor) -> Tensor:
            result: Tensor = func(values.clone(), *args[1:], **others)  # it may work in place
            return result

        outputs = self.rule(activation, inputs)
        return inputs.copy_(outputs) if _works_in_place(func, args, kwargs) else outputs
