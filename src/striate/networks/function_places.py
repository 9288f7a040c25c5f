"""Functions that run between modules, as places of their own under the names that `describe` gives them.

What Python calls is one function, such as `torch.matmul` or `x += y`; PyTorch makes one or more operators of it.
`describe` counts operators that make or write a tensor which depends on the image; so names and numbers here are
counted likewise, and a function is the place of its last operator.
"""

import difflib
import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from striate.errors import InputError

_PLAIN_NAMES = {
    "constant_pad_nd": "pad",
    "max_pool2d_with_indices": "max_pool2d",
    "_to_copy": "to",
    "_unsafe_view": "view",
}
_MAKERS = (
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like", "new_zeros",
    "new_ones",
    "new_full", "new_empty", "new_empty_strided",
)  # fmt: skip
"""Operators that take a tensor's shape and nothing of its values."""


def operator_name(operator: Any) -> str:
    """An ATen operator's name as people know it; an underscore at the end says that it works in place."""
    name = operator.overloadpacket.__name__
    return _PLAIN_NAMES.get(name, name.lstrip("_").removeprefix("native_"))


def works_in_place(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call from Python writes its result into its first argument and returns that."""
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    name = getattr(function, "__name__", "")
    if name.startswith("__"):
        return name.startswith("__i") and name not in ("__invert__", "__index__", "__int__")
    if name.endswith("_"):
        return True
    if getattr(function, "__module__", "") != F.__name__:
        return False
    names = list(inspect.signature(function).parameters)
    place = names.index("inplace") if "inplace" in names else len(args)
    return place < len(args) and bool(args[place])


class FunctionPlaces(TorchFunctionMode):
    """Passes the outputs of the named functions through `handle`; `scopes` holds the modules that are running,
    innermost last.

    `begin` must be called with the arguments of the network at the start of each forward pass.
    """

    def __init__(self, names: set[str], scopes: list[str], handle: Callable[[str, Tensor], Tensor]) -> None:
        super().__init__()
        self.names, self.scopes, self.handle = names, scopes, handle
        self.wanted_scopes = {name.partition(":")[0] for name in names}
        self.counts: dict[str, int] = defaultdict(int)
        self.seen: dict[str, None] = {}
        self.depending = WeakIdKeyDictionary()
        self.has_run = False

    def begin(self, args: Any) -> None:
        """A forward pass begins with these arguments, whose tensors are the images."""
        self.counts.clear()
        self._mark(args)
        self.has_run = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(leaf, Tensor) and leaf in self.depending for leaf in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        scope = self.scopes[-1] if self.scopes else ""
        in_place = scope in self.wanted_scopes and bool(args) and works_in_place(func, args, kwargs)
        given = (args[0].clone(), *args[1:]) if in_place else args
        with _Operators() as operators:
            output = func(*given, **kwargs)
        names = [self._number(f"{scope}:{name}") for name in operators.found]
        self._refuse_inner(names if not isinstance(output, Tensor) else names[:-1], func)
        if isinstance(output, Tensor) and names and names[-1] in self.names:
            output = self.handle(names[-1], output)
        if in_place:
            output = args[0].copy_(output)
        self._mark((output, args[:1]) if operators.found else output)
        return output

    def _number(self, name: str) -> str:
        self.counts[name] += 1
        numbered = name if self.counts[name] == 1 else f"{name}.{self.counts[name]}"
        self.seen.setdefault(numbered)
        return numbered

    def _refuse_inner(self, names: Sequence[str], function: Any) -> None:
        """Raise InputError for a name that is but a step inside of a function."""
        for name in self.names.intersection(names):
            called = getattr(function, "__name__", type(function).__name__)
            raise InputError(
                f"{name} is a step inside of {called} and cannot be recorded or changed alone; name the layer or "
                "function after it"
            )

    def _mark(self, tensors: Any) -> None:
        for leaf in tree_leaves(tensors):
            if isinstance(leaf, Tensor):
                self.depending[leaf] = True

    def check_found(self) -> None:
        """Raise InputError for a name under which nothing ran."""
        for name in sorted(self.names - self.seen.keys()):
            near = difflib.get_close_matches(name, self.seen, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "striate describe lists layers and functions"
            raise InputError(f"no function called {name!r} ran in the network; {hint}")


class _Operators(TorchDispatchMode):
    """Lists the operators that make a new tensor or write into one, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if not inputs or not outputs or func.overloadpacket.__name__ in _MAKERS:
            return output
        is_new = not {_storage(each) for each in outputs} <= {_storage(each) for each in inputs}
        if is_new or func._schema.is_mutable:
            self.found.append(operator_name(func))
        return output


def _storage(tensor: Tensor) -> int:
    """What tells a piece of memory from others."""
    try:
        return tensor.untyped_storage()._cdata
    except (RuntimeError, NotImplementedError):  # sparse tensors have none
        return -id(tensor)
