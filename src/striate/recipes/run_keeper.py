"""Keeps a run's record up to date while it is trained, and its best weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import RunError
from striate.recipes.prepare import Prepared
from striate.recipes.run_folder import write_json
from striate.training.checkpoints import cannot_write
from striate.training.checks import CheckResult
from striate.training.frozen.trainable_tail import whole_state
from striate.training.observer import SilentObserver
from striate.weights.model_file import MODEL_FILE, ModelFile, write_model_file


class RunKeeper(SilentObserver):
    """Keeps run.json up to date and writes the model file whenever an epoch is the best so far."""

    def __init__(self, run_dir: Path, described: dict[str, Any], prepared: Prepared) -> None:
        self.run_dir = run_dir
        self.described = described
        self.prepared = prepared

    def write(self, **changes: Any) -> None:
        self.described.update(changes)
        write_json(self.run_dir / RUN_FILE, self.described)

    def on_checks(self, checks: tuple[CheckResult, ...]) -> None:
        self.write(checks=[asdict(check) for check in checks])

    def on_notice(self, line: str) -> None:
        self.write(notices=[*self.described["notices"], line])

    def keep_best(self, weights: dict[str, Tensor], epoch: int, record: dict[str, Any]) -> None:
        """Write model.safetensors with these weights and where they come from."""
        described = self.described
        provenance = {
            "striate": described["striate"],
            "versions": described["versions"],
            "started_at": described["started_at"],
            "data": described["data"] | {"source": described["source"]},
            "resumed": described.get("resumed", []),
            "recipe": described["recipe"],
            "epoch": epoch,
            "validation": {
                name.removeprefix("validation_"): value
                for name, value in record.items()
                if name.startswith("validation_")
            },
        }
        about = ModelFile(
            network=described["network"]["name"],
            config=described["network"]["config"],
            class_names=tuple(described["class_names"]),
            preprocessing=self.prepared.preprocessing,
            provenance=provenance,
            task=self.prepared.task.name,
            task_settings=self.prepared.task.settings(),
        )
        if self.prepared.recipe.views > 0:
            weights = whole_state(weights)
        try:
            write_model_file(self.run_dir / MODEL_FILE, about, weights)
        except OSError as error:
            raise RunError(cannot_write(self.run_dir / MODEL_FILE, error)) from error
