"""Every attack by name, what it can be asked, and the paper it is from; importing this imports no torch."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from striate.registry import Registry

_LP = ("linf", "l2", "l1")


@dataclass(frozen=True)
class Method:
    """One attack: the module and function that it is, the norms it knows, the options it takes, the default number of
    steps.

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

_AUTO = ("num_steps", "num_restarts", "seed")

METHODS: Registry[Method] = Registry(
    "attack",
    (
        Method("fgsm", "fgsm", "arXiv:1412.6572"),
        Method("bim", "pgd", "arXiv:1607.02533", options=("num_steps", "step_size"), num_steps=10),
        Method("pgd", "pgd", "arXiv:1706.06083", options=_ITERATED, num_steps=40),
        Method("mi_fgsm", "mi_fgsm", "arXiv:1710.06081", options=("num_steps", "step_size"), num_steps=10),
        Method("adam", "adam", "arXiv:1802.05666", options=_ITERATED, num_steps=40),
        Method("apgd_ce", "apgd", "arXiv:2003.01690", options=_AUTO, num_steps=100),
        Method("apgd_dlr", "apgd", "arXiv:2003.01690", options=_AUTO, num_steps=100),
        Method("apgd_targeted", "apgd", "arXiv:2003.01690", options=(*_AUTO, "num_targets"), num_steps=100),
        Method("fab", "fab", "arXiv:1907.02044", options=_AUTO, num_steps=100, finds_smallest=True),
        Method(
            "fab_targeted", "fab", "arXiv:1907.02044", options=(*_AUTO, "num_targets"), num_steps=100,
            finds_smallest=True,
        ),
        Method(
            "square", "square", "arXiv:1912.00049", norms=("linf",), options=_AUTO, num_steps=5000,
            needs_gradients=False,
        ),
        Method(
            "deepfool", "deepfool", "arXiv:1511.04599", norms=("l2", "linf"), options=("num_steps",), num_steps=50,
            finds_smallest=True,
        ),
        Method(
            "carlini_wagner", "carlini_wagner", "arXiv:1608.04644", norms=("l2",), options=("num_steps", "step_size"),
            num_steps=200, finds_smallest=True,
        ),
        Method(
            "boundary", "boundary", "arXiv:1712.04248", norms=("l2",), options=("num_steps", "seed"), num_steps=2000,
            needs_gradients=False, finds_smallest=True,
        ),
        Method(
            "one_pixel", "one_pixel", "arXiv:1710.08864", norms=("l0",), options=("num_steps", "seed"), num_steps=75,
            needs_gradients=False,
        ),
        Method("sign_of_weights", "sign_of_weights", "arXiv:1412.6572", norms=("linf",)),
        Method(
            "rotation", "rotation", "arXiv:1712.02779", norms=("degrees",), options=("num_steps",), num_steps=31,
            needs_gradients=False,
        ),
        Method(
            "noise", "noise", "uniform in the ball", options=("num_steps", "seed"), needs_gradients=False,
        ),
    ),
)  # fmt: skip
