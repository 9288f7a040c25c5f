"""One call of an ATen operator, its arguments by name."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.inspection.receptive_field.tensor_field import TensorField


class Call:
    """One call of an ATen operator: its arguments by their names, and what its tensors see."""

    def __init__(
        self,
        op: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        output: Any,
        look: Callable[[Tensor], TensorField],
        extents: tuple[int, int],
    ) -> None:
        self.op, self.output, self.look, self.extents = op, output, look, extents
        self.given: dict[str, Any] = {}
        for place, argument in enumerate(op._schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            self.given[argument.name] = args[place] if place < len(args) else kwargs.get(argument.name, default)

    def __getitem__(self, name: str) -> Any:
        return self.given.get(name)

    @property
    def first(self) -> TensorField:
        """The receptive field of the first argument."""
        return self.look(next(iter(self.given.values())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        output = self.output[0] if isinstance(self.output, tuple | list) else self.output
        return tuple(output.shape)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments."""
        found = []
        for value in self.given.values():
            found += [one for one in (value if isinstance(value, tuple | list) else [value]) if isinstance(one, Tensor)]
        return found

    def dim(self, name: str = "dim") -> int:
        """An argument that names a dimension, counted from the front."""
        return self[name] % max(1, len(self.first.dims))

    def dims(self, name: str = "dim") -> list[int]:
        """An argument that names one or more dimensions; all where it names none."""
        value = self[name]
        if value is None or value == []:
            return list(range(len(self.first.dims)))
        return [dim % max(1, len(self.first.dims)) for dim in ([value] if isinstance(value, int) else value)]


Rule = Callable[[Call], TensorField | list[TensorField]]
"""Receptive fields of the outputs, in order, or of the first. Raises UnknownField."""


def at(values: Sequence[int], axis: int) -> int:
    return values[axis] if len(values) > 1 else values[0]
