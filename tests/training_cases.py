"""Small networks, data and recipes for the tests of training, and a run that can be started in a process of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from striate.data.augmentation_settings import Augmentation
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.tasks.classification.task import Classification, ClassLabels
from striate.training.loader import Loader
from striate.training.loop import train_network
from striate.training.observer import SilentObserver, StepInfo
from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig


class TinyNet(nn.Module):
    """Everything that has state or draws numbers: convolution, batch norm, dropout, linear layers; (N, 1, 8, 8) -> (N,
    K).
    """

    def __init__(self, num_classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(1, 4, 3)
            self.bn1 = nn.BatchNorm2d(4)
            self.relu1 = nn.ReLU()
            self.conv2 = nn.Conv2d(4, 6, 3)
            self.relu2 = nn.ReLU()
            self.flatten = nn.Flatten()
            self.dropout = nn.Dropout(0.2)
            self.fc = nn.Linear(6 * 16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu2(self.conv2(self.relu1(self.bn1(self.conv1(images)))))
        return self.fc(self.dropout(self.flatten(maps)))


def tiny_feed(num_images: int = 60, num_classes: int = 3, num_validation: int = 15) -> Loader:
    """Grey 8 x 8 images, each class bright in another band, with some noise; easy to learn."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_images) % num_classes
    images = rng.integers(0, 60, (num_images, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 150
    packed = PackedImages.from_images(list(images.astype(np.uint8)))
    split = num_images - num_validation
    return Loader(
        packed,
        ClassLabels(labels.astype(np.int64)),
        np.arange(split),
        np.arange(split, num_images),
        Preprocessing(1, 8, (8, 8), mean=(0.25,), std=(0.25,)),
        Classification(tuple("abcdefghij"[:num_classes])),
    )


def tiny_recipe(**changes: Any) -> Recipe:
    """Three epochs of AdamW at a constant rate."""
    optimizer = OptimizerConfig("adamw", learning_rate=0.01)
    values = {"network": "tiny", "epochs": 3, "batch_size": 8, "optimizer": optimizer}
    return Recipe(**{**values, "schedule": ScheduleConfig("constant"), **changes})


def full_recipe(**changes: Any) -> Recipe:
    """Everything on that could go wrong when a run is resumed."""
    values = {
        "optimizer": OptimizerConfig("nesterov", learning_rate=0.05, weight_decay=1e-3),
        "schedule": ScheduleConfig("one_cycle"),
        "augmentation": Augmentation(
            crop_scale=(0.5, 1.0), flip=True, shift_px=1, rotation_degrees=5, brightness=0.2, mixup=0.3
        ),
        "ema_decay": 0.9,
        "accumulate_steps": 2,
        "label_smoothing": 0.1,
        "max_grad_norm": 1.0,
        "use_balanced_sampling": True,
        "batch_size": 4,
        "epochs": 3,
    }
    return tiny_recipe(**{**values, **changes})


def cpu_fabric(**changes: Any) -> Fabric:
    """One process on the processor."""
    return Fabric(**{"accelerator": "cpu", "devices": 1, **changes})


class Recorder(SilentObserver):
    """Remembers what it heard; `hook` is called after every step that is shown."""

    def __init__(self, hook: Any = None) -> None:
        self.notices: list[str] = []
        self.steps: list[StepInfo] = []
        self.records: list[dict[str, Any]] = []
        self.checks: list[Any] = []
        self.start: Any = None
        self.num_ends = 0
        self.hook = hook

    def on_start(self, start: Any) -> None:
        self.start = start

    def on_checks(self, checks: Any) -> None:
        self.checks += checks

    def on_step(self, info: StepInfo) -> None:
        self.steps.append(info)
        if self.hook is not None:
            self.hook(info)

    def on_epoch(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def on_notice(self, line: str) -> None:
        self.notices.append(line)

    def on_end(self) -> None:
        self.num_ends += 1


def train_tiny(run_dir: Path, recipe: Recipe | None = None, **arguments: Any) -> tuple[TinyNet, Any]:
    """A run on the tiny data; the trained network and the result."""
    network = arguments.pop("network", None) or TinyNet()
    values = {"fabric": cpu_fabric(), "use_checks": False, **arguments}
    loader = values.pop("loader", None) or tiny_feed()
    result = train_network(network, recipe or tiny_recipe(), loader, run_dir, **values)
    return network, result


@dataclass(frozen=True)
class Found:
    """What a validation that is not made would have found."""

    score: float
    loss: float

    def summary(self) -> dict[str, float]:
        return {"accuracy": self.score}


def equal_states(first: nn.Module, second: nn.Module) -> bool:
    """Whether all weights and buffers are equal bit by bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
