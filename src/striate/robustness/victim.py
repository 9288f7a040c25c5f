"""What is attacked, whatever it is: a model with gradients, or an exported file that only answers. N images, K
classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.robustness.attacked import Callee
from striate.tasks.model import Model, load_model

_TINY = 1e-12
_EXPORTED = (".onnx", ".xml")


@dataclass(frozen=True, eq=False)
class Victim:
    """A network from pixels in [0, 1] to logits (N, K), and the model whose classes and preprocessing it has."""

    network: Callee
    model: Model


class Exported:
    """An exported program as a function of images (N, C, H, W) in [0, 1], which it is given rounded to 8 bits:
    log-probabilities (N, K).
    """

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs on the CPU; nothing to differentiate."""
        pixels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(self.runner.run(pixels)).clamp(min=_TINY).log()


def open_victim(ref: str | Path, *, device: str = "auto", download: bool = False, log: Log = log_nothing) -> Victim:
    """A MODEL as the command line names it, or an exported .onnx or OpenVINO .xml file, which is a black box.

    InputError for a model of another task: only classes can be taken for one another.
    """
    if Path(str(ref)).suffix in _EXPORTED:
        from striate.export.running import open_exported

        runner = open_exported(ref)
        names = tuple(runner.about["class_names"])
        preprocessing = Preprocessing.from_json(runner.about["preprocessing"])
        return Victim(Exported(runner), Model(nn.Identity(), class_names=names, preprocessing=preprocessing))
    return victim_of(load_model(ref, device=device, download=download, log=log))


def victim_of(model: Model) -> Victim:
    """A model as a network of pixels."""
    if not model.task.has_probabilities:
        raise InputError(
            f"this model is for {model.task.name}; give striate.robustness its network and a criterion of your own "
            "from Python"
        )
    return Victim(model.pixel_model, model)
