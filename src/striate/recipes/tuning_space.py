"""The settings that a search varies, and between which bounds: fields of Choices, in log space where they span decades."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.training.recipe import Recipe

_FIELDS = {field.name for field in dataclasses.fields(Choices)}
_FIXED = ("seed", "validation_fraction", "test_fraction", "epochs", "task")
"""What a search must leave alone: it would compare scores on other images, or of runs of other lengths."""


@dataclass(frozen=True)
class Dimension:
    """One setting: a range from `low` to `high`, by its logarithm with `is_log` and in whole numbers with `is_whole`, or `choices`.

    InputError for bounds that are none.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in _FIELDS or self.name in _FIXED:
            known = ", ".join(sorted(_FIELDS - set(_FIXED)))
            raise InputError(f"the space names {self.name!r}, which a search cannot vary; it can vary {known}")
        if self.choices:
            return
        sound = all(isinstance(bound, int | float) and math.isfinite(bound) for bound in (self.low, self.high))
        if not sound or not self.low < self.high or (self.is_log and self.low <= 0):
            raise InputError(
                f"{self.name} goes from {self.low} to {self.high}, which is no range{' in log space' if self.is_log else ''}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a space file has them."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.is_log, "whole": self.is_whole}


def default_space(recipe: Recipe) -> tuple[Dimension, ...]:
    """Around what a run would take by itself: a decade of learning rates to either side, weight decay, label smoothing, batch size."""
    rate = recipe.optimizer.learning_rate
    sizes = sorted({max(4, recipe.batch_size // 2), recipe.batch_size, 2 * recipe.batch_size})
    return (
        Dimension("learning_rate", rate / 10, rate * 10, is_log=True),
        Dimension("weight_decay", 1e-6, 1e-1, is_log=True),
        Dimension("label_smoothing", 0.0, 0.2),
        Dimension("batch_size", choices=tuple(sizes)),
    )


def read_space(path: str | Path) -> tuple[Dimension, ...]:
    """The space of a JSON file: {"learning_rate": {"low": 1e-4, "high": 0.1, "log": true}, "network": {"choices": ["a", "b"]}}.

    InputError with one line for a file that is none.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if not isinstance(values, dict) or not values:
        raise InputError(
            f'{path} should hold an object of settings, such as {{"learning_rate": {{"low": 1e-4, "high": 0.1}}}}'
        )
    found = []
    for name, own in values.items():
        if not isinstance(own, dict) or set(own) - {"low", "high", "log", "whole", "choices"}:
            raise InputError(f"{path}: {name} should have low and high, and perhaps log and whole, or choices")
        if "choices" in own and (not isinstance(own["choices"], list) or not own["choices"]):
            raise InputError(f"{path}: the choices of {name} should be a list of at least one")
        found.append(
            Dimension(
                name,
                own.get("low", 0.0),
                own.get("high", 0.0),
                bool(own.get("log", False)),
                bool(own.get("whole", False)),
                tuple(own.get("choices", ())),
            )
        )
    return tuple(found)
