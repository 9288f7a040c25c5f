"""Building a network whose settings come from a stranger's file: given up as soon as it has more parts than it can
have.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from striate.errors import ModelFileError

_SPARE = 4
"""Some constructors make parts that they then leave out or put in another's place."""
_LEAST = 1_000
_MODULES_A_TENSOR = 8
"""Modules without weights of their own, such as activations and containers."""


@contextmanager
def at_most_tensors(num_tensors: int) -> Iterator[None]:
    """While this thread builds modules, raise ModelFileError once they hold several times `num_tensors` parameters and
    buffers, or as many more modules. So a network of a million layers costs the time of what its file can hold.
    """
    own, most = threading.get_ident(), _LEAST + _SPARE * num_tensors
    counts = {"tensors": 0, "modules": 0}

    def count(kind: str, limit: int) -> None:
        if threading.get_ident() != own:  # the hooks are the whole process's
            return
        counts[kind] += 1
        if counts[kind] > limit:
            raise ModelFileError(
                f"its settings make a network of more than {limit:,} {kind} but it holds {num_tensors:,}"
            )

    def on_tensor(module: nn.Module, name: str, value: Any) -> None:  # noqa: ARG001
        count("tensors", most)

    def on_module(module: nn.Module, name: str, value: Any) -> None:  # noqa: ARG001
        count("modules", _MODULES_A_TENSOR * most)

    with ExitStack() as hooks:
        hooks.enter_context(register_module_parameter_registration_hook(on_tensor))
        hooks.enter_context(register_module_buffer_registration_hook(on_tensor))
        hooks.enter_context(register_module_module_registration_hook(on_module))
        yield
