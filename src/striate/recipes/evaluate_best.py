"""The end of a run: its best model on the test part, the worst mistakes, and what the report shows beside them."""

from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from striate.baselines.run_panel import write_baselines
from striate.data.opening import Access
from striate.errors import ModelFileError, RunError
from striate.evaluation.evaluate_network import evaluate as evaluate_network
from striate.evaluation.mistakes import write_mistakes
from striate.explanation.run_panel import write_inside
from striate.networks.catalogue import build_entry
from striate.networks.given import EXTERNAL
from striate.recipes.prepare import Prepared
from striate.recipes.run_folder import (
    EVALUATION_FILE,
    write_json,
)
from striate.robustness.run_panel import write_robustness
from striate.tasks.classification.logits import Tempered, tempered
from striate.tasks.model import task_of
from striate.tasks.task import Figures
from striate.weights.model_file import MODEL_FILE, read_model_file


def evaluate_best(
    run_dir: Path, described: dict[str, Any], prepared: Prepared, fabric: Fabric, access: Access
) -> tuple[str, Figures]:
    """Measure the best model on the test part, or validation where there is none; leave evaluation.json and the worst
    mistakes.
    """
    is_given = prepared.entry.name == EXTERNAL
    try:
        about, weights = read_model_file(run_dir / MODEL_FILE, prepared.network if is_given else None)
    except ModelFileError as error:
        raise RunError(f"{error}; the run's best weights are lost with it, so start a new run") from None
    network = prepared.network
    if described["machine"].get("has_shared_out_weights"):  # what was trained lies in pieces in all processes
        network = build_entry(
            prepared.entry,
            num_classes=prepared.task.num_outputs(prepared.recipe.output),
            in_channels=prepared.preprocessing.channels,
        ).to(fabric.device)
    network.load_state_dict(weights)
    network = tempered(network, about.temperature)  # of a finished run that was calibrated since
    split = "test" if len(prepared.splits.test) else "validation"
    images = prepared.data.dataset.images
    evaluation = evaluate_network(
        network,
        prepared.preprocessing,
        prepared.packed,
        prepared.splits[split],
        prepared.annotations,
        task_of(about, run_dir / MODEL_FILE),
        device=fabric.device,
        track=access.track,
    )
    shown = (prepared.packed, prepared.preprocessing, images.name, prepared.task)
    mistakes = write_mistakes(run_dir, evaluation.mistakes, *shown)
    examples = {
        kind: write_mistakes(run_dir, chosen, *shown, kind=kind)
        for kind, chosen in prepared.task.examples(evaluation).items()
    }
    if prepared.task.has_probabilities:
        mistaken = [mistake.index for mistake in evaluation.mistakes]
        _write_panels(run_dir, described, prepared, network, split, mistaken, access)
    figures = {
        "split": split,
        "temperature": about.temperature,
        **evaluation.to_json(),
        "mistakes": mistakes,
        "examples": examples,
    }
    write_json(run_dir / EVALUATION_FILE, figures)
    return split, evaluation


def _write_panels(
    run_dir: Path,
    described: dict[str, Any],
    prepared: Prepared,
    network: nn.Module,
    split: str,
    mistaken: list[int],
    access: Access,
) -> None:
    """What the report shows of a classifier beside its figures: its inside, baselines without a network, how little
    fools it.
    """
    write_inside(
        run_dir,
        network.network if isinstance(network, Tempered) else network,
        prepared.preprocessing,
        prepared.packed,
        prepared.splits[split],
        prepared.annotations.labels,
        prepared.task.class_names,
        mistaken,
        prepared.data.dataset.images.name,
    )
    write_baselines(
        run_dir,
        prepared.packed,
        prepared.splits.train,
        prepared.splits[split],
        prepared.annotations.labels,
        prepared.task.class_names,
        seed=prepared.recipe.seed,
    )
    if described.get("robustness", False):
        write_robustness(
            run_dir,
            network,
            prepared.preprocessing,
            prepared.packed,
            prepared.splits[split],
            prepared.annotations.labels,
            training_s=described["elapsed_s"],
            seed=prepared.recipe.seed,
            track=access.track,
        )
