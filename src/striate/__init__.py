"""striate, the convnet workbench: from a folder of images to a model you understand, trust and can ship.

The public functions, imported on first use, so that `import striate` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from striate.version import __version__

_HOMES = {
    "Access": "striate.data.opening",
    "AscentConfig": "striate.synthesis.visualize",
    "AttackRequest": "striate.robustness.attack_model",
    "Augmentation": "striate.data.augmentation",
    "Choices": "striate.recipes.choices",
    "ClassTarget": "striate.synthesis.targets",
    "Evaluation": "striate.evaluation.evaluate_network",
    "LayerTarget": "striate.synthesis.targets",
    "Model": "striate.tasks.model",
    "OptimizerConfig": "striate.training.recipe",
    "Preprocessing": "striate.data.preprocessing",
    "Recipe": "striate.training.recipe",
    "Run": "striate.recipes.train",
    "ScheduleConfig": "striate.training.recipe",
    "StriateError": "striate.errors",
    "UnitTarget": "striate.synthesis.targets",
    "attack": "striate.robustness.attack_model",
    "bench": "striate.engines.benching",
    "calibrate": "striate.evaluation.temperature_scaling",
    "build_network": "striate.networks.catalogue",
    "check_exported": "striate.export.exporting",
    "check_network": "striate.inspection.check_network",
    "describe": "striate.inspection.describe",
    "evaluate": "striate.evaluation.evaluate_model",
    "explain": "striate.explanation.explain",
    "export_model": "striate.export.exporting",
    "list_runs": "striate.recipes.run_list",
    "load_model": "striate.tasks.model",
    "open_engine": "striate.engines.predicting",
    "open_source": "striate.data.readers.sources",
    "plan_run": "striate.recipes.train",
    "predict": "striate.engines.predicting",
    "resume": "striate.recipes.train",
    "save_model": "striate.tasks.model",
    "summarize": "striate.data.summary",
    "train": "striate.recipes.train",
    "visualize": "striate.synthesis.visualize",
    "write_network_page": "striate.reports.network_page",
}

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:
    from striate.data.augmentation import Augmentation as Augmentation
    from striate.data.opening import Access as Access
    from striate.data.preprocessing import Preprocessing as Preprocessing
    from striate.data.readers.sources import open_source as open_source
    from striate.data.summary import summarize as summarize
    from striate.engines.benching import bench as bench
    from striate.engines.predicting import open_engine as open_engine
    from striate.engines.predicting import predict as predict
    from striate.errors import StriateError as StriateError
    from striate.evaluation.evaluate_model import evaluate as evaluate
    from striate.evaluation.evaluate_network import Evaluation as Evaluation
    from striate.evaluation.temperature_scaling import calibrate as calibrate
    from striate.explanation.explain import explain as explain
    from striate.export.exporting import check_exported as check_exported
    from striate.export.exporting import export_model as export_model
    from striate.inspection.check_network import check_network as check_network
    from striate.inspection.describe import describe as describe
    from striate.networks.catalogue import build_network as build_network
    from striate.recipes.choices import Choices as Choices
    from striate.recipes.run_list import list_runs as list_runs
    from striate.recipes.train import Run as Run
    from striate.recipes.train import plan_run as plan_run
    from striate.recipes.train import resume as resume
    from striate.recipes.train import train as train
    from striate.reports.network_page import write_network_page as write_network_page
    from striate.robustness.attack_model import AttackRequest as AttackRequest
    from striate.robustness.attack_model import attack as attack
    from striate.synthesis.targets import ClassTarget as ClassTarget
    from striate.synthesis.targets import LayerTarget as LayerTarget
    from striate.synthesis.targets import UnitTarget as UnitTarget
    from striate.synthesis.visualize import AscentConfig as AscentConfig
    from striate.synthesis.visualize import visualize as visualize
    from striate.tasks.model import Model as Model
    from striate.tasks.model import load_model as load_model
    from striate.tasks.model import save_model as save_model
    from striate.training.recipe import OptimizerConfig as OptimizerConfig
    from striate.training.recipe import Recipe as Recipe
    from striate.training.recipe import ScheduleConfig as ScheduleConfig


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
