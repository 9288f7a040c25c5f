"""striate, the convnet workbench: from a folder of images to a model you understand, trust and can ship.

The public functions, imported on first use, so that `import striate` does not import torch.
"""

import importlib

from striate.version import __version__

TYPE_CHECKING = False
"""As in `typing`, which is not imported here: Ctrl-C can be answered in one line only once the command has begun."""
if TYPE_CHECKING:
    from typing import Any

_HOMES = {
    "Access": "striate.data.opening",
    "AscentConfig": "striate.synthesis.visualize",
    "AttackRequest": "striate.robustness.attack_model",
    "Augmentation": "striate.data.augmentation_settings",
    "Baselines": "striate.baselines.baseline",
    "Bench": "striate.engines.benching",
    "CheckResult": "striate.training.checks",
    "Choices": "striate.recipes.choices",
    "ClassProbability": "striate.tasks.classification.predictions",
    "ClassTarget": "striate.synthesis.targets",
    "Comparison": "striate.evaluation.comparison",
    "ConformalFit": "striate.evaluation.conformal",
    "CorruptedEvaluation": "striate.evaluation.corrupted",
    "CrossValidation": "striate.recipes.folds",
    "DataChecks": "striate.evaluation.data_checks",
    "DataError": "striate.errors",
    "DataSummary": "striate.data.summary",
    "Dataset": "striate.data.dataset",
    "DreamConfig": "striate.synthesis.dream",
    "Drift": "striate.retrieval.drift",
    "Edits": "striate.data.edits",
    "Evaluation": "striate.tasks.classification.figures",
    "Exported": "striate.export.exporting",
    "Familiarity": "striate.tasks.classification.predictions",
    "FamiliarityFit": "striate.evaluation.familiarity",
    "FoolConfig": "striate.synthesis.fool",
    "ImageIndex": "striate.retrieval.index_file",
    "InputError": "striate.errors",
    "InvertConfig": "striate.synthesis.invert",
    "LabelErrors": "striate.evaluation.label_errors",
    "LayerDescription": "striate.inspection.layers",
    "LayerTarget": "striate.synthesis.targets",
    "Model": "striate.tasks.model",
    "ModelFileError": "striate.errors",
    "NetworkCheck": "striate.inspection.check_network",
    "NetworkDescription": "striate.inspection.layers",
    "NonFiniteLoss": "striate.errors",
    "OptimizerConfig": "striate.training.recipe",
    "ParityCheck": "striate.export.parity",
    "PatchConfig": "striate.synthesis.patches",
    "PixelModel": "striate.tasks.pixel_model",
    "Prediction": "striate.tasks.classification.predictions",
    "PredictionError": "striate.tasks.predictions",
    "Predictions": "striate.tasks.predictions",
    "Preprocessing": "striate.data.preprocessing",
    "RateScan": "striate.training.rate_finder",
    "Recipe": "striate.training.recipe",
    "Repeatability": "striate.training.repeatability",
    "RetrievalFigures": "striate.retrieval.figures",
    "Run": "striate.recipes.train",
    "RunError": "striate.errors",
    "ScheduleConfig": "striate.training.recipe",
    "SearchResult": "striate.retrieval.searching",
    "SetFigures": "striate.evaluation.conformal",
    "SourceEvaluation": "striate.evaluation.evaluate_model",
    "StriateError": "striate.errors",
    "StyleConfig": "striate.synthesis.style",
    "TemperatureFit": "striate.evaluation.temperature_scaling:Fit",
    "TextureConfig": "striate.synthesis.texture",
    "TrainStyleConfig": "striate.synthesis.train_style",
    "Transferability": "striate.baselines.transferability",
    "Trial": "striate.recipes.tuning_study",
    "TrustRequest": "striate.evaluation.trusted_predictions",
    "Tuned": "striate.recipes.tune",
    "UnitTarget": "striate.synthesis.targets",
    "attack": "striate.robustness.attack_model",
    "baseline": "striate.baselines.baseline",
    "bench": "striate.engines.benching",
    "build_network": "striate.networks.catalogue",
    "cache_contents": "striate.data.cache_contents",
    "calibrate": "striate.evaluation.temperature_scaling",
    "calibrate_file": "striate.recipes.calibrate",
    "certify_model": "striate.robustness.certify_model",
    "check_data": "striate.evaluation.data_checks",
    "check_exported": "striate.export.exporting",
    "check_network": "striate.inspection.check_network",
    "compare": "striate.evaluation.comparison",
    "compress": "striate.compression.compress",
    "cross_validate": "striate.recipes.folds",
    "describe": "striate.inspection.describe",
    "dream": "striate.synthesis.dream",
    "empty_cache": "striate.data.cache_contents",
    "evaluate": "striate.evaluation.evaluate_model",
    "evaluate_corrupted": "striate.evaluation.corrupted",
    "evaluate_groups": "striate.evaluation.evaluate_groups",
    "evaluate_sets": "striate.evaluation.conformal",
    "explain": "striate.explanation.explain",
    "export_model": "striate.export.exporting",
    "find_drift": "striate.retrieval.drift",
    "find_label_errors": "striate.evaluation.label_errors",
    "find_rate": "striate.recipes.train",
    "fit_conformal": "striate.evaluation.conformal",
    "fit_familiarity": "striate.evaluation.familiarity",
    "fool": "striate.synthesis.fool",
    "index_images": "striate.retrieval.indexing",
    "invert": "striate.synthesis.invert",
    "ledger": "striate.compression.compress",
    "linear_model": "striate.baselines.linear_model",
    "list_networks": "striate.networks.catalogue",
    "list_runs": "striate.recipes.run_list",
    "load_index": "striate.retrieval.index_file",
    "load_model": "striate.tasks.model",
    "look_at_units": "striate.explanation.look",
    "make_ensemble": "striate.evaluation.ensembling",
    "maximise_prediction": "striate.robustness.maximise",
    "open_engine": "striate.engines.predicting",
    "open_source": "striate.data.readers.sources",
    "plan_run": "striate.recipes.train",
    "predict": "striate.engines.predicting",
    "predict_trusted": "striate.evaluation.trusted_predictions",
    "read_edits": "striate.data.edits",
    "report": "striate.reports.report:write_report",
    "resume": "striate.recipes.train",
    "resume_folds": "striate.recipes.folds",
    "retrieval_figures": "striate.retrieval.figures",
    "save_model": "striate.tasks.model",
    "search_index": "striate.retrieval.searching",
    "store_sets": "striate.recipes.calibrate",
    "substitute_for": "striate.robustness.substitute_model",
    "summarize": "striate.data.summary",
    "synthesize_from_patches": "striate.synthesis.patches",
    "synthesize_texture": "striate.synthesis.texture",
    "train": "striate.recipes.train",
    "train_style": "striate.synthesis.train_style",
    "transfer_style": "striate.synthesis.style",
    "transferability": "striate.baselines.transferability",
    "tune": "striate.recipes.tune",
    "verify_training": "striate.recipes.train",
    "visualize": "striate.synthesis.visualize",
    "write_network_page": "striate.reports.network_page",
    "write_shards": "striate.data.shards",
}
"""Where each public name is defined, `module` or `module:name there`."""

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:
    from striate.baselines.baseline import Baselines as Baselines
    from striate.baselines.baseline import baseline as baseline
    from striate.baselines.linear_model import linear_model as linear_model
    from striate.baselines.transferability import Transferability as Transferability
    from striate.baselines.transferability import transferability as transferability
    from striate.compression.compress import compress as compress
    from striate.compression.compress import ledger as ledger
    from striate.data.augmentation_settings import Augmentation as Augmentation
    from striate.data.cache_contents import cache_contents as cache_contents
    from striate.data.cache_contents import empty_cache as empty_cache
    from striate.data.dataset import Dataset as Dataset
    from striate.data.edits import Edits as Edits
    from striate.data.edits import read_edits as read_edits
    from striate.data.opening import Access as Access
    from striate.data.preprocessing import Preprocessing as Preprocessing
    from striate.data.readers.sources import open_source as open_source
    from striate.data.shards import write_shards as write_shards
    from striate.data.summary import DataSummary as DataSummary
    from striate.data.summary import summarize as summarize
    from striate.engines.benching import Bench as Bench
    from striate.engines.benching import bench as bench
    from striate.engines.predicting import open_engine as open_engine
    from striate.engines.predicting import predict as predict
    from striate.errors import DataError as DataError
    from striate.errors import InputError as InputError
    from striate.errors import ModelFileError as ModelFileError
    from striate.errors import NonFiniteLoss as NonFiniteLoss
    from striate.errors import RunError as RunError
    from striate.errors import StriateError as StriateError
    from striate.evaluation.comparison import Comparison as Comparison
    from striate.evaluation.comparison import compare as compare
    from striate.evaluation.conformal import ConformalFit as ConformalFit
    from striate.evaluation.conformal import SetFigures as SetFigures
    from striate.evaluation.conformal import evaluate_sets as evaluate_sets
    from striate.evaluation.conformal import fit_conformal as fit_conformal
    from striate.evaluation.corrupted import CorruptedEvaluation as CorruptedEvaluation
    from striate.evaluation.corrupted import evaluate_corrupted as evaluate_corrupted
    from striate.evaluation.data_checks import DataChecks as DataChecks
    from striate.evaluation.data_checks import check_data as check_data
    from striate.evaluation.ensembling import make_ensemble as make_ensemble
    from striate.evaluation.evaluate_groups import evaluate_groups as evaluate_groups
    from striate.evaluation.evaluate_model import SourceEvaluation as SourceEvaluation
    from striate.evaluation.evaluate_model import evaluate as evaluate
    from striate.evaluation.familiarity import FamiliarityFit as FamiliarityFit
    from striate.evaluation.familiarity import fit_familiarity as fit_familiarity
    from striate.evaluation.label_errors import LabelErrors as LabelErrors
    from striate.evaluation.label_errors import find_label_errors as find_label_errors
    from striate.evaluation.temperature_scaling import Fit as TemperatureFit  # noqa: F401
    from striate.evaluation.temperature_scaling import calibrate as calibrate
    from striate.evaluation.trusted_predictions import TrustRequest as TrustRequest
    from striate.evaluation.trusted_predictions import predict_trusted as predict_trusted
    from striate.explanation.explain import explain as explain
    from striate.explanation.look import look_at_units as look_at_units
    from striate.export.exporting import Exported as Exported
    from striate.export.exporting import check_exported as check_exported
    from striate.export.exporting import export_model as export_model
    from striate.export.parity import ParityCheck as ParityCheck
    from striate.inspection.check_network import NetworkCheck as NetworkCheck
    from striate.inspection.check_network import check_network as check_network
    from striate.inspection.describe import describe as describe
    from striate.inspection.layers import LayerDescription as LayerDescription
    from striate.inspection.layers import NetworkDescription as NetworkDescription
    from striate.networks.catalogue import build_network as build_network
    from striate.networks.catalogue import list_networks as list_networks
    from striate.recipes.calibrate import calibrate_file as calibrate_file
    from striate.recipes.calibrate import store_sets as store_sets
    from striate.recipes.choices import Choices as Choices
    from striate.recipes.folds import CrossValidation as CrossValidation
    from striate.recipes.folds import cross_validate as cross_validate
    from striate.recipes.folds import resume_folds as resume_folds
    from striate.recipes.run_list import list_runs as list_runs
    from striate.recipes.train import Run as Run
    from striate.recipes.train import find_rate as find_rate
    from striate.recipes.train import plan_run as plan_run
    from striate.recipes.train import resume as resume
    from striate.recipes.train import train as train
    from striate.recipes.train import verify_training as verify_training
    from striate.recipes.tune import Tuned as Tuned
    from striate.recipes.tune import tune as tune
    from striate.recipes.tuning_study import Trial as Trial
    from striate.reports.network_page import write_network_page as write_network_page
    from striate.reports.report import write_report as report  # noqa: F401
    from striate.retrieval.drift import Drift as Drift
    from striate.retrieval.drift import find_drift as find_drift
    from striate.retrieval.figures import RetrievalFigures as RetrievalFigures
    from striate.retrieval.figures import retrieval_figures as retrieval_figures
    from striate.retrieval.index_file import ImageIndex as ImageIndex
    from striate.retrieval.index_file import load_index as load_index
    from striate.retrieval.indexing import index_images as index_images
    from striate.retrieval.searching import SearchResult as SearchResult
    from striate.retrieval.searching import search_index as search_index
    from striate.robustness.attack_model import AttackRequest as AttackRequest
    from striate.robustness.attack_model import attack as attack
    from striate.robustness.certify_model import certify_model as certify_model
    from striate.robustness.maximise import maximise_prediction as maximise_prediction
    from striate.robustness.substitute_model import substitute_for as substitute_for
    from striate.synthesis.dream import DreamConfig as DreamConfig
    from striate.synthesis.dream import dream as dream
    from striate.synthesis.fool import FoolConfig as FoolConfig
    from striate.synthesis.fool import fool as fool
    from striate.synthesis.invert import InvertConfig as InvertConfig
    from striate.synthesis.invert import invert as invert
    from striate.synthesis.patches import PatchConfig as PatchConfig
    from striate.synthesis.patches import synthesize_from_patches as synthesize_from_patches
    from striate.synthesis.style import StyleConfig as StyleConfig
    from striate.synthesis.style import transfer_style as transfer_style
    from striate.synthesis.targets import ClassTarget as ClassTarget
    from striate.synthesis.targets import LayerTarget as LayerTarget
    from striate.synthesis.targets import UnitTarget as UnitTarget
    from striate.synthesis.texture import TextureConfig as TextureConfig
    from striate.synthesis.texture import synthesize_texture as synthesize_texture
    from striate.synthesis.train_style import TrainStyleConfig as TrainStyleConfig
    from striate.synthesis.train_style import train_style as train_style
    from striate.synthesis.visualize import AscentConfig as AscentConfig
    from striate.synthesis.visualize import visualize as visualize
    from striate.tasks.classification.figures import Evaluation as Evaluation
    from striate.tasks.classification.predictions import ClassProbability as ClassProbability
    from striate.tasks.classification.predictions import Familiarity as Familiarity
    from striate.tasks.classification.predictions import Prediction as Prediction
    from striate.tasks.model import Model as Model
    from striate.tasks.model import load_model as load_model
    from striate.tasks.model import save_model as save_model
    from striate.tasks.pixel_model import PixelModel as PixelModel
    from striate.tasks.predictions import PredictionError as PredictionError
    from striate.tasks.predictions import Predictions as Predictions
    from striate.training.checks import CheckResult as CheckResult
    from striate.training.rate_finder import RateScan as RateScan
    from striate.training.recipe import OptimizerConfig as OptimizerConfig
    from striate.training.recipe import Recipe as Recipe
    from striate.training.recipe import ScheduleConfig as ScheduleConfig
    from striate.training.repeatability import Repeatability as Repeatability


def __getattr__(name: str) -> "Any":
    if name == "networks":  # the catalogue's room, which lists it when called
        return importlib.import_module("striate.networks")
    if name not in _HOMES:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return __all__
