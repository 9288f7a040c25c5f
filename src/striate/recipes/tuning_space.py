"""The settings that a search varies, and between which bounds: fields of Choices, in log space where they span
decades.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.training.recipe import Recipe

_KINDS = {
    name: next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    for name, hint in get_type_hints(Choices).items()
}
"""What each choice is, where it is made: str, bool, int, float, or a pair of numbers."""
_PLAIN = (str, bool, int, float, type(None))
_FIXED = ("seed", "validation_fraction", "test_fraction", "epochs", "task")
"""What a search must leave alone: it would compare scores on other images, or of runs of other lengths."""


@dataclass(frozen=True)
class Dimension:
    """One setting: a range from `low` to `high`, by its logarithm with `is_log` and in whole numbers with `is_whole`,
    or `choices`.

    A setting that is a whole number is searched in whole numbers. InputError for bounds that are none, and for values
    that the setting cannot take.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in _KINDS or self.name in _FIXED:
            known = ", ".join(sorted(_KINDS.keys() - set(_FIXED)))
            raise InputError(f"the space names {self.name!r}, which a search cannot vary; it can vary {known}")
        kind = _KINDS[self.name]
        if self.choices:
            for choice in self.choices:
                if not _fits(choice, kind):
                    raise InputError(f"{self.name} is {_WORDS.get(kind, _PAIR)}, which the choice {choice!r} is not")
                Choices(**{self.name: choice})
            return
        if kind not in (int, float):
            raise InputError(f"{self.name} is {_WORDS.get(kind, _PAIR)}, which has no range; give it choices")
        object.__setattr__(self, "is_whole", self.is_whole or kind is int)
        sound = all(_fits(bound, int if self.is_whole else float) for bound in (self.low, self.high))
        least = 1 if self.is_whole else 0
        if not sound or not self.low < self.high or (self.is_log and (self.low <= 0 or self.low < least)):
            how = f"{' of whole numbers' * self.is_whole}{' in log space' * self.is_log}"
            raise InputError(f"{self.name} goes from {self.low} to {self.high}, which is no range{how}")

    def includes(self, value: Any) -> bool:
        """Whether a search may try this value."""
        if self.choices:
            return value in self.choices
        return _fits(value, float) and self.low <= value <= self.high

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a space file has them."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.is_log, "whole": self.is_whole}


_WORDS = {str: "a word", bool: "true or false", int: "a whole number", float: "a number"}
_PAIR = "two numbers"


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of a space file is of the kind that a setting has; None leaves it to striate."""
    if value is None:
        return True
    if kind in (int, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return is_number and (kind is float or value == int(value))
    if kind in (str, bool):
        return isinstance(value, kind)
    return isinstance(value, list | tuple) and len(value) == 2 and all(_fits(part, float) for part in value)


def default_space(recipe: Recipe, num_train: int, *, smooths_labels: bool = True) -> tuple[Dimension, ...]:
    """Around what a run would take by itself: a decade of learning rates to either side, weight decay, label smoothing
    where the task has it, and batch size, which is at most the number of training images.
    """
    rate = recipe.optimizer.learning_rate
    sizes = {max(4, recipe.batch_size // 2), recipe.batch_size, 2 * recipe.batch_size}
    smoothing = (Dimension("label_smoothing", 0.0, 0.2),) if smooths_labels else ()
    return (
        Dimension("learning_rate", rate / 10, rate * 10, is_log=True),
        Dimension("weight_decay", 1e-6, 1e-1, is_log=True),
        *smoothing,
        Dimension("batch_size", choices=tuple(sorted(size for size in sizes if size <= num_train))),
    )


def usual_settings(space: tuple[Dimension, ...], recipe: Recipe) -> dict[str, Any]:
    """What a run takes by itself, of the settings that the space has, where it lies within."""
    values = {
        **dataclasses.asdict(recipe.augmentation),
        **dataclasses.asdict(recipe.schedule),
        **dataclasses.asdict(recipe.optimizer),
        **dataclasses.asdict(recipe),
        "optimizer": recipe.optimizer.name,
        "schedule": recipe.schedule.name,
    }
    found = {}
    for dimension in space:
        value = values.get(dimension.name)
        as_written = (
            next((choice for choice in dimension.choices if _taken(dimension.name, choice) == value), value)
            if value is not None
            else None
        )
        if as_written is not None and dimension.includes(as_written):
            found[dimension.name] = as_written
    return found


def _taken(name: str, choice: Any) -> Any:
    """A choice as a recipe has it: "head" is what it calls "base", and so on."""
    value = getattr(Choices(**{name: choice}), name)
    return tuple(value) if isinstance(value, list) else value


def read_space(path: str | Path) -> tuple[Dimension, ...]:
    """The space of a JSON file: {"learning_rate": {"low": 1e-4, "high": 0.1, "log": true}, "network": {"choices": ["a",
    "b"]}}.

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
        if any(not isinstance(own.get(word, False), bool) for word in ("log", "whole")):
            raise InputError(f"{path}: log and whole of {name} should be true or false")
        if "choices" in own and (not isinstance(own["choices"], list) or not own["choices"]):
            raise InputError(f"{path}: the choices of {name} should be a list of at least one")
        found.append(
            Dimension(
                name,
                own.get("low", 0.0),
                own.get("high", 0.0),
                own.get("log", False),
                own.get("whole", False),
                tuple(own.get("choices", ())),
            )
        )
    return tuple(found)
