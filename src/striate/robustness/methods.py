"""Every attack by name, what it can be asked, and the paper it is from; importing this imports no torch."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from striate.registry import Registry

_LP = ("linf", "l2", "l1")


@dataclass(frozen=True)
class Method:
    """One attack: the module and function that it is, the norms it knows, the options it takes, the default number of steps.

    `finds_smallest`: it looks for the smallest change by itself, and epsilon only decides what counts.
    """

    name: str
    home: str
    paper: str
    norms: tuple[str, ...] = _LP
    options: tuple[str, ...] = ()
    num_steps: int = 1
    needs_gradients: bool = True
    finds_smallest: bool = False
    takes_targets: bool = True

    def load(self) -> Callable[..., Any]:
        """The function `(network, images, labels, *, epsilon, norm, ...) -> Adversarials`."""
        function: Callable[..., Any] = getattr(importlib.import_module(f"striate.robustness.{self.home}"), self.name)
        return function


_ITERATED = ("num_steps", "step_size", "num_restarts", "seed")

METHODS: Registry[Method] = Registry(
    "attack",
    (
        Method("fgsm", "fgsm", "arXiv:1412.6572"),
        Method("bim", "pgd", "arXiv:1607.02533", options=("num_steps", "step_size"), num_steps=10),
        Method("pgd", "pgd", "arXiv:1706.06083", options=_ITERATED, num_steps=40),
        Method("mi_fgsm", "mi_fgsm", "arXiv:1710.06081", options=("num_steps", "step_size"), num_steps=10),
        Method("adam", "adam", "arXiv:1802.05666", options=_ITERATED, num_steps=40),
        Method(
            "noise", "noise", "uniform in the ball", options=("num_steps", "seed"), needs_gradients=False,
        ),
    ),
)  # fmt: skip
