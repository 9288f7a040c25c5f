"""The frozen configuration of a run. Everything that decides the final weights stands here, and is stored in
run.json.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from striate.data.augmentation_settings import Augmentation
from striate.errors import InputError, check_whole

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon", "lbfgs"]
ScheduleName = Literal["constant", "step", "plateau", "linear", "cosine", "one_cycle"]
Adversarial = Literal["none", "fgsm", "fast", "free", "pgd", "trades"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Freeze = Literal["nothing", "base", "lower", "gradual"]
KEEPS_FEATURES = ("base", "lower")
"""Values of `freeze` that keep layers frozen to the end, so that these run once for each view of an image."""
Output = Literal["softmax", "sigmoid"]
QUEUED_OPTIMIZERS = frozenset({"sgd", "momentum", "nesterov", "adam", "adamw", "muon"})
"""Whose updates a CUDA device can hold off by itself, so that nobody need wait for them (queued_steps.py)."""
_LARGEST = 1e30


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser with its peak learning rate and weight decay. Norms and biases are never decayed.

    `norm_rate_factor` multiplies the rate of the norms' shifts and scales (64 in arXiv:2404.00498; 1 = as all weights).
    Muon alone has two more: `other_rate_factor` multiplies the rate of all that gets no orthogonal update, norms among
    it, and `use_unit_filters` keeps the others at a fixed norm (muon.py).
    """

    name: OptimizerName = "nesterov"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    norm_rate_factor: float = 1.0
    other_rate_factor: float = 1.0
    use_unit_filters: bool = False

    def __post_init__(self) -> None:
        _check_choice("optimizer", self.name, OptimizerName)
        _check_above("learning_rate", self.learning_rate, 0)
        _check_within("learning_rate", self.learning_rate, 0, _LARGEST)
        _check_within("momentum", self.momentum, 0, 1)
        _check_within("weight_decay", self.weight_decay, 0, _LARGEST)
        _check_above("norm_rate_factor", self.norm_rate_factor, 0)
        _check_within("norm_rate_factor", self.norm_rate_factor, 0, _LARGEST)
        _check_above("other_rate_factor", self.other_rate_factor, 0)
        _check_within("other_rate_factor", self.other_rate_factor, 0, _LARGEST)
        if self.name != "muon" and (self.other_rate_factor != 1 or self.use_unit_filters):
            raise InputError(
                f"other_rate_factor and use_unit_filters are muon's but the optimizer is {self.name}; leave them out"
            )


@dataclass(frozen=True)
class ScheduleConfig:
    """A learning-rate schedule, as a factor on the peak rate; spans are fractions of the run's steps.

    `warmup` rises linearly from 0 before any schedule (one_cycle has its rise in `rise`). `step` multiplies by `factor`
    at each of `milestones`; `plateau` multiplies by `factor` after `patience` epochs without a better validation loss.
    """

    name: ScheduleName = "one_cycle"
    warmup: float = 0.0
    rise: float = 0.3
    factor: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)
    patience: int = 3

    def __post_init__(self) -> None:
        _check_choice("schedule", self.name, ScheduleName)
        _check_within("warmup", self.warmup, 0, 1)
        _check_within("rise", self.rise, 0, 1)
        _check_within("factor", self.factor, 0, 1)
        _check_within("patience", self.patience, 0, math.inf)
        for milestone in self.milestones:
            _check_within("each of milestones", milestone, 0, 1)
        if self.name == "one_cycle" and self.warmup > 0:
            raise InputError("one_cycle rises by itself; set warmup to 0, or take the cosine schedule with it")


@dataclass(frozen=True)
class Recipe:
    """A whole run. `layer_rate_factor` multiplies the rate of each earlier layer group in fine-tuning (1 = all alike).

    `freeze`: "base" trains the head only, "lower" the last third of the base as well; "gradual" starts with the head
    and unfreezes one earlier group at a time. `views`: with "base" and "lower", how many augmented views of each image
    go through the frozen layers, once, before the first epoch; epoch e trains on view e modulo `views`; 0 runs them
    anew at every step. `stream_images` above 0 decodes images when they are needed; of a source in shards so many that
    lie near each other are shuffled together. `adversarial` trains on attacked images, changed by at most
    `adversarial_epsilon` (pixels being 0 to 1) in `attack_steps` steps, 0 for the method's usual number
    (adversarial.py). `task` is what is learnt and `loss` which of its losses, None for its usual one. `output`: softmax
    has one output a class, sigmoid a single one for the second of two classes. `ema_decay` 0 keeps no average.
    `use_channels_last` lays activations out pixel by pixel, which is faster for all but tiny networks and rounds
    differently. `use_compile` has torch.compile write the code of a step, and `use_cuda_graphs` has a CUDA device
    replay its kernels at once, where it can (queued_steps.py). `num_threads` compute on the CPU; 0 leaves PyTorch's own
    number. Fractions lie in [0, 1]. `group_by` says which images no split divides (data.image_groups). With `num_folds`
    the run is fold `fold`, from 1, of a cross-validation. Raises InputError for values out of range.
    """

    network: str
    epochs: int
    batch_size: int
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    label_smoothing: float = 0.0
    use_class_weights: bool = False
    use_balanced_sampling: bool = False
    max_grad_norm: float = math.inf
    accumulate_steps: int = 1
    ema_decay: float = 0.0
    precision: Precision = "32-true"
    use_channels_last: bool = False
    use_compile: bool = False
    use_cuda_graphs: bool = False
    num_threads: int = 0
    freeze: Freeze = "nothing"
    views: int = 0
    stream_images: int = 0
    adversarial: Adversarial = "none"
    adversarial_epsilon: float = 8 / 255
    attack_steps: int = 0
    layer_rate_factor: float = 1.0
    weights: str | None = None
    output: Output = "softmax"
    task: str = "classification"
    loss: str | None = None
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    group_by: str | None = None
    num_folds: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate_steps"):
            check_whole(name, getattr(self, name), 1)
        for name in ("seed", "views", "stream_images", "num_threads", "attack_steps", "num_folds", "fold"):
            check_whole(name, getattr(self, name), 0)
        _check_choice("precision", self.precision, Precision)
        _check_choice("adversarial", self.adversarial, Adversarial)
        self._check_adversarial()
        _check_choice("freeze", self.freeze, Freeze)
        _check_choice("output", self.output, Output)
        _check_within("label_smoothing", self.label_smoothing, 0, 1)
        _check_within("ema_decay", self.ema_decay, 0, 1)
        _check_within("layer_rate_factor", self.layer_rate_factor, 0, 1)
        _check_above("max_grad_norm", self.max_grad_norm, 0)
        _check_above("validation_fraction", self.validation_fraction, 0)
        _check_within("validation_fraction", self.validation_fraction, 0, 0.9)
        _check_within("test_fraction", self.test_fraction, 0, 0.9)
        if self.num_folds == 1 or not min(1, self.num_folds) <= self.fold <= self.num_folds:
            raise InputError(f"fold {self.fold} of {self.num_folds} is none: folds are numbered 1 to at least 2")
        if self.use_cuda_graphs and not may_use_graphs(self.optimizer.name, self.accumulate_steps, self.precision):
            raise InputError(
                "CUDA graphs hold what runs once an update and alike each time, so they go without --accumulate-steps "
                f"and precision 16-mixed, and with the optimisers {', '.join(sorted(QUEUED_OPTIMIZERS))}; leave "
                "--cuda-graphs out"
            )
        if self.views > 0 and (self.freeze not in KEEPS_FEATURES or self.augmentation.mixup > 0):
            raise InputError(
                f"views of images are kept only behind frozen layers and without mixup, but {self.views} are asked for "
                f"with freeze {self.freeze} and mixup {self.augmentation.mixup:g}; use --train head or last-third with "
                "--mixup 0, or --views 0"
            )

    def _check_adversarial(self) -> None:
        if not 0 < self.adversarial_epsilon <= 1:
            likely = f"; did you mean {self.adversarial_epsilon:g}/255?" if 1 < self.adversarial_epsilon <= 255 else ""
            raise InputError(
                "adversarial_epsilon must lie in (0, 1], pixels being 0 to 1, but is "
                f"{self.adversarial_epsilon:g}{likely}"
            )
        if self.adversarial == "none":
            return
        if self.freeze != "nothing" or self.optimizer.name == "lbfgs" or self.use_cuda_graphs:
            raise InputError(
                "adversarial training attacks the whole network at every step, so it goes without frozen layers, lbfgs "
                "and CUDA graphs; use --freeze nothing and another optimizer"
            )
        if self.adversarial in ("fgsm", "fast") and self.attack_steps > 1:
            raise InputError(f"{self.adversarial} takes a single step but {self.attack_steps} are asked for; use pgd")
        if self.adversarial == "trades" and self.augmentation.mixup > 0:
            raise InputError("trades compares an image with its attacked copy, so it goes without mixup; use --mixup 0")

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; no limit on the gradient is written as null."""
        values = dataclasses.asdict(self)
        values["max_grad_norm"] = None if math.isinf(self.max_grad_norm) else self.max_grad_norm
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Recipe":
        """The inverse of `to_json`; InputError for unknown fields."""
        values = dict(values)
        if values.get("start_px") == 0:  # of runs from before progressive resizing was removed: docs/decisions/0014
            del values["start_px"]
        parts = {"optimizer": OptimizerConfig, "schedule": ScheduleConfig, "augmentation": Augmentation}
        try:
            for key, part in parts.items():
                values[key] = part(**{k: tuple(v) if isinstance(v, list) else v for k, v in values[key].items()})
            if values.get("max_grad_norm") is None:
                values["max_grad_norm"] = math.inf
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is not a recipe that this version of striate can read: {error}") from None


def may_use_graphs(optimizer: str, accumulate_steps: int, precision: str) -> bool:
    """Whether a CUDA graph could hold an update: one pass each, which never depends on what came out before."""
    return optimizer in QUEUED_OPTIMIZERS and accumulate_steps == 1 and precision != "16-mixed"


def check_precision(precision: str) -> Precision:
    """The precision of this name; InputError where there is none such."""
    _check_choice("precision", precision, Precision)
    return cast(Precision, precision)


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise InputError(f"{name} must be one of {', '.join(get_args(choices))} but is {value!r}")


def _check_above(name: str, value: float, low: float) -> None:
    if isinstance(value, str | bool) or not value > low:
        raise InputError(f"{name} must be above {low:g} but is {value!r}")


def _check_within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, str | bool) or not low <= value <= high:
        raise InputError(f"{name} must lie in [{low:g}, {high:g}] but is {value!r}")
