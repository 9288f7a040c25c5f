"""Every command has a public function that does its work, and what both ask for has one default."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import striate
from striate.cli.app import app

COMMANDS = {command.name: command.callback for command in app.registered_commands}
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "attack": ("attack",),
    "baseline": ("baseline", "linear_model"),
    "bench": ("bench",),
    "cache": ("cache_contents", "empty_cache"),
    "calibrate": ("calibrate", "calibrate_file", "fit_conformal", "store_sets"),
    "certify": ("certify_model",),
    "check": ("check_exported",),
    "compare": ("compare",),
    "compress": ("compress",),
    "data": ("check_data", "write_shards"),
    "describe": ("describe", "check_network", "write_network_page"),
    "dream": ("dream",),
    "drift": ("find_drift",),
    "ensemble": ("make_ensemble",),
    "errors": ("find_label_errors",),
    "evaluate": ("evaluate", "evaluate_corrupted", "evaluate_groups", "evaluate_sets"),
    "explain": ("explain",),
    "export": ("export_model",),
    "fool": ("fool",),
    "index": ("index_images", "retrieval_figures"),
    "invert": ("invert",),
    "ledger": ("ledger",),
    "look": ("look_at_units",),
    "networks": ("list_networks",),
    "predict": ("predict", "predict_trusted"),
    "report": ("report",),
    "runs": ("list_runs",),
    "search": ("load_index", "search_index"),
    "style": ("transfer_style", "train_style"),
    "substitute": ("substitute_for",),
    "texture": ("synthesize_texture", "synthesize_from_patches"),
    "train": (
        "train", "resume", "plan_run", "find_rate", "verify_training", "cross_validate", "resume_folds", "read_edits",
    ),
    "transfers": ("transferability",),
    "tune": ("tune",),
    "visualize": ("visualize",),
}  # fmt: skip
WITHOUT = {"demo": "trains, evaluates and predicts by the functions of those commands"}
OTHERWISE = {
    ("transfers", "epsilon"): "the command's depends on the norm",
    ("attack", "through"): "nothing named",
    ("evaluate", "corruptions"): "a switch, and which",
    ("look", "units"): "nothing named",
    ("bench", "engines"): "nothing named is auto",
    ("explain", "methods"): "nothing named is grad_cam",
    ("explain", "classes"): "nothing named",
    ("tune", "folder"): "a text and a path",
    ("transfers", "learners"): "a text and its parts",
}
"""Parameters whose defaults are written in two ways, and why."""
ON_THE_CPU = {"bench", "compress", "ledger"}
"""Measure the processor that a model would be shipped to, unless another device is named."""


def test_every_command_has_its_functions() -> None:
    assert set(COMMANDS) == set(FUNCTIONS) | set(WITHOUT)
    named = {name for names in FUNCTIONS.values() for name in names}
    assert named <= set(striate.__all__)


def defaults(function: Any) -> dict[str, Any]:
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("command", sorted(FUNCTIONS))
def test_what_both_ask_for_has_one_default(command: str) -> None:
    typed = defaults(COMMANDS[command])
    for name in FUNCTIONS[command]:
        called = defaults(getattr(striate, name))
        unequal = {
            parameter: (typed[parameter], value)
            for parameter, value in called.items()
            if parameter in typed and typed[parameter] != value and (command, parameter) not in OTHERWISE
        }
        assert not unequal, f"the command {command} and striate.{name} differ (command, function)"


def test_devices_are_chosen_alike() -> None:
    """ "auto", from the shell and from Python, but where processors are measured."""
    for command, function in COMMANDS.items():
        assert defaults(function).get("device", "auto") == ("cpu" if command in ON_THE_CPU else "auto"), command
    measuring = {name for command in ON_THE_CPU for name in FUNCTIONS[command]}
    for name in striate.__all__:
        found = getattr(striate, name)
        if inspect.isfunction(found) and name not in measuring | {"build_network"}:  # which computes nothing
            assert defaults(found).get("device", "auto") == "auto", name


PAGE = (Path(__file__).parents[2] / "docs" / "from-python.md").read_text(encoding="utf-8")
SHARED = {
    name for row in re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
}
"""What that page says once for all functions."""
SAID_BY_ITS_TYPE = {"choices", "config", "images", "ref", "run", "num_workers", "progress"}
LONG = [
    name
    for name in striate.__all__
    if inspect.isfunction(found := getattr(striate, name)) and len(inspect.signature(found).parameters) > 4
]


@pytest.mark.parametrize("name", LONG)
def test_a_function_of_many_parameters_says_what_they_are_and_has_an_example(name: str) -> None:
    """The blocks of docs/from-python.md run as a test; a search for settings, which takes minutes, is named there."""
    function = getattr(striate, name)
    said = set(re.findall(r"`(\w+)`", str(inspect.getdoc(function)))) | SHARED | SAID_BY_ITS_TYPE
    assert set(inspect.signature(function).parameters) - said == set()
    assert f"striate.{name}(" in PAGE
