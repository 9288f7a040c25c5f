"""Measured figures of an engine, as plain values: speed, memory, agreement. Imports no torch."""

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

from striate.engines.engine import EngineKind


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
    `memory_bytes`: by how much the process grew meanwhile. `gap`: of "near-ties", see engines.near_ties. `accuracy`: share
    of rightly answered images, where labels are known. `problem`: why there is no figure.
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
        """The inverse of `to_json`; KeyError, TypeError or InputError where something else is given."""
        names = {field.name for field in dataclasses.fields(Timing)}
        timings = tuple(Timing(**{key: each[key] for key in names}) for each in values["timings"])
        agreement = values["agreement"] and Agreement(**values["agreement"])
        return cls(
            **{**values, "kind": EngineKind.from_json(values["kind"]), "timings": timings, "agreement": agreement}
        )
