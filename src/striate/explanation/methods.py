"""The methods by name: what each computes, from which paper, and how its maps are shown."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from striate.errors import InputError
from striate.explanation.deconvnet import deconvnet
from striate.explanation.grad_cam import grad_cam
from striate.explanation.grad_cam_plus_plus import grad_cam_plus_plus
from striate.explanation.gradient_x_input import gradient_x_input
from striate.explanation.guided_backprop import guided_backprop
from striate.explanation.guided_grad_cam import guided_grad_cam
from striate.explanation.integrated_gradients import integrated_gradients
from striate.explanation.layer_cam import layer_cam
from striate.explanation.lime import lime
from striate.explanation.occlusion import occlusion
from striate.explanation.saliency import saliency
from striate.explanation.score_cam import score_cam
from striate.explanation.smooth_grad import smooth_grad


@dataclass(frozen=True)
class Method:
    """One way of explaining. `takes_layer`: its map is that of a layer, (N, h, w). `plane` says how channels become one
    for showing.

    `is_signed`: negative values speak against the class. `is_slow`: hundreds of passes an image.
    `is_insensitive`: known to show edges whatever the upper layers have learnt (arXiv:1810.03292).
    """

    name: str
    run: Callable[..., Tensor]
    paper: str
    takes_layer: bool = False
    plane: Literal["none", "sum", "max"] = "none"
    is_signed: bool = False
    is_slow: bool = False
    is_insensitive: bool = False

    def to_plane(self, array: np.ndarray) -> np.ndarray:
        """One map (H, W) of (H, W) or (C, H, W): the sum over channels, or the largest absolute value."""
        if array.ndim == 2:
            return array
        return array.sum(axis=0) if self.plane == "sum" else np.abs(array).max(axis=0)


METHODS = (
    Method("saliency", saliency, "arXiv:1312.6034"),
    Method("gradient_x_input", gradient_x_input, "arXiv:1605.01713", plane="sum", is_signed=True),
    Method("integrated_gradients", integrated_gradients, "arXiv:1703.01365", plane="sum", is_signed=True, is_slow=True),
    Method("smooth_grad", smooth_grad, "arXiv:1706.03825", plane="max", is_slow=True),
    Method("guided_backprop", guided_backprop, "arXiv:1412.6806", plane="max", is_insensitive=True),
    Method("deconvnet", deconvnet, "arXiv:1311.2901", plane="max", is_insensitive=True),
    Method("grad_cam", grad_cam, "arXiv:1610.02391", takes_layer=True),
    Method("grad_cam_plus_plus", grad_cam_plus_plus, "arXiv:1710.11063", takes_layer=True),
    Method("guided_grad_cam", guided_grad_cam, "arXiv:1610.02391", takes_layer=True, plane="max", is_insensitive=True),
    Method("layer_cam", layer_cam, "IEEE TIP 30 (2021)", takes_layer=True),
    Method("score_cam", score_cam, "arXiv:1910.01279", takes_layer=True, is_slow=True),
    Method("occlusion", occlusion, "arXiv:1311.2901", is_signed=True, is_slow=True),
    Method("lime", lime, "arXiv:1602.04938", is_signed=True, is_slow=True),
)
_BY_NAME = {method.name: method for method in METHODS}
ALL = "all"


def find_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """The methods of these names, each once; "all" means every one. InputError with near misses for a name that is
    none.
    """
    found: dict[str, Method] = {}
    for name in names:
        key = name.replace("-", "_").lower()
        if key == ALL:
            found |= _BY_NAME
        elif key in _BY_NAME:
            found[key] = _BY_NAME[key]
        else:
            near = difflib.get_close_matches(key, _BY_NAME, n=3, cutoff=0.5) or list(_BY_NAME)
            raise InputError(f"no method is called {name!r}; did you mean {', '.join(near)}?")
    return tuple(found.values())
