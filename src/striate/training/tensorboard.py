"""Live curves for TensorBoard: an observer that writes event files."""

from pathlib import Path
from typing import Any

from striate.training.observer import RunStart, SilentObserver, StepInfo


class TensorBoardWriter(SilentObserver):
    """Writes train/ and validation/ curves by step to `folder`; on resuming, what was written beyond the checkpoint
    is hidden.

    TensorBoard itself is imported only when the run starts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on_start(self, start: RunStart) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(str(self.folder), purge_step=start.step + 1 if start.step else None)

    def on_step(self, info: StepInfo) -> None:
        self._write(
            info.step,
            {
                "train/running_loss": info.loss,
                "train/learning_rate": info.learning_rate,
                "train/grad_norm": info.grad_norm,
                "train/images_per_s": info.images_per_s,
            },
        )

    def on_epoch(self, record: dict[str, Any]) -> None:
        names = [name.partition("_") for name in record if name.startswith(("train_", "validation_"))]
        self._write(record["step"], {f"{part}/{figure}": record[f"{part}_{figure}"] for part, _, figure in names})
        self._writer.flush()

    def on_end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, scalars: dict[str, float]) -> None:
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)
