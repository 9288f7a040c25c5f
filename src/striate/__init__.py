"""striate, the convnet workbench: from a folder of images to a model you understand, trust and can ship.

The public functions, imported on first use, so that `import striate` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Augmentation": "striate.data.augmentation",
    "Evaluation": "striate.evaluation.evaluate",
    "Model": "striate.tasks.model",
    "OptimizerConfig": "striate.training.recipe",
    "Preprocessing": "striate.data.preprocessing",
    "Recipe": "striate.training.recipe",
    "Run": "striate.recipes.train",
    "ScheduleConfig": "striate.training.recipe",
    "StriateError": "striate.errors",
    "build_network": "striate.networks.catalogue",
    "describe": "striate.inspection.describe",
    "evaluate": "striate.evaluation.on_source",
    "load_model": "striate.tasks.model",
    "open_source": "striate.data.sources",
    "resume": "striate.recipes.train",
    "save_model": "striate.tasks.model",
    "summarize": "striate.data.summary",
    "train": "striate.recipes.train",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from striate.data.augmentation import Augmentation
    from striate.data.preprocessing import Preprocessing
    from striate.data.sources import open_source
    from striate.data.summary import summarize
    from striate.errors import StriateError
    from striate.evaluation.evaluate import Evaluation
    from striate.networks.catalogue import build_network
    from striate.inspection.describe import describe
    from striate.evaluation.on_source import evaluate
    from striate.recipes.train import Run, resume, train
    from striate.tasks.model import Model, load_model, save_model
    from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
