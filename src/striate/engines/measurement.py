"""Measured figures of an engine, as plain values: speed, memory, agreement. Imports no torch."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from striate.data.stored_values import stored_count, stored_flag, stored_list, stored_number, stored_table, stored_text
from striate.engines.engine import EngineKind

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """The median time of one batch in milliseconds, over `num_repeats` after a warm-up."""

    batch_size: int
    milliseconds: float
    num_repeats: int

    @property
    def images_per_s(self) -> float:
        """Images a second at this batch size."""
        return 1000 * self.batch_size / self.milliseconds


@dataclass(frozen=True)
class Agreement:
    """Agreement of an engine's predictions with the reference on real images.

    `num_equal` of `num_images` have the same best class; `max_difference` is the largest difference of any probability.
    `is_on_own_images`: they are images of the user's, none of which settled anything about the engine.
    """

    num_images: int
    num_equal: int
    max_difference: float
    is_on_own_images: bool


@dataclass(frozen=True)
class Row:
    """One engine's line of the table.

    `open_s`: seconds until it was ready for its first batch (for compiled ones with compiling, for one batch size).
    `memory_bytes`: by how much the process grew meanwhile. `gap`: of "near-ties", see engines.near_ties. `accuracy`:
    share of rightly answered images, where labels are known. `problem`: why there is no figure.
    """

    kind: EngineKind
    open_s: float | None = None
    memory_bytes: int | None = None
    timings: tuple[Timing, ...] = ()
    agreement: Agreement | None = None
    gap: float | None = None
    accuracy: float | None = None
    problem: str | None = None

    def timing(self, batch_size: int) -> Timing | None:
        """The one at this batch size, or else at the nearest that was measured (of equally near ones, the smaller)."""
        return min(self.timings, key=lambda each: (abs(each.batch_size - batch_size), each.batch_size), default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain values; timings with "images_per_s"."""
        timings = [{**asdict(each), "images_per_s": each.images_per_s} for each in self.timings]
        return {**asdict(self), "kind": self.kind.to_json(), "timings": timings}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Row":
        """The inverse of `to_json`; KeyError, TypeError, ValueError or InputError where something else is given."""
        agreement, problem = values["agreement"], values["problem"]
        return cls(
            kind=EngineKind.from_json(values["kind"]),
            open_s=_unless_none(values["open_s"], stored_number),
            memory_bytes=_unless_none(values["memory_bytes"], stored_count),
            timings=tuple(_timing(each) for each in stored_list(values["timings"])),
            agreement=None if agreement is None else _agreement(stored_table(agreement)),
            gap=_unless_none(values["gap"], stored_number),
            accuracy=_unless_none(values["accuracy"], stored_number),
            problem=_unless_none(problem, stored_text),
        )


def _timing(values: Any) -> Timing:
    return Timing(
        batch_size=stored_count(values["batch_size"]),
        milliseconds=stored_number(values["milliseconds"], above=0),
        num_repeats=stored_count(values["num_repeats"]),
    )


def _agreement(values: dict[str, Any]) -> Agreement:
    return Agreement(
        num_images=stored_count(values["num_images"]),
        num_equal=stored_count(values["num_equal"]),
        max_difference=stored_number(values["max_difference"]),
        is_on_own_images=stored_flag(values["is_on_own_images"]),
    )


def _unless_none(value: Any, check: Callable[[Any], T]) -> T | None:
    return None if value is None else check(value)
