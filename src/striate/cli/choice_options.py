"""The options of a run on the command line, made from the fields of `Choices`, so that each is written once."""

from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any

import typer

from striate.cli.field_options import with_fields
from striate.cli.memory import importing
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.recipes.option import Option

PARAMETER = "choices"


def with_choices(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command, in place of its parameter `choices`, an option for each field of these names or of all that
    have one.
    """
    asked = [each for each in fields(Choices) if "option" in each.metadata]
    chosen = {each.name: each for each in asked if not names or each.name in names}
    options = {name: (_annotation(each, with_panel=not names), each.default) for name, each in chosen.items()}

    def make(typed: dict[str, Any]) -> Choices:
        return Choices(**{name: _read(chosen[name].metadata["option"], value) for name, value in typed.items()})

    return lambda command: with_fields(command, PARAMETER, options, make)


def _annotation(field: "Field[Any]", *, with_panel: bool) -> Any:
    """What Typer makes an option of."""
    asked: Option = field.metadata["option"]
    panel = asked.panel if with_panel else None
    shown = typer.Option(*asked.flags, help=asked.help, metavar=asked.metavar, rich_help_panel=panel)
    return Annotated[str | None, shown] if asked.is_fraction else Annotated[field.type, shown]


def _read(asked: Option, value: Any) -> Any:
    if value is not None and asked.words and value not in asked.words:
        raise InputError(f"{asked.flags[0]} must be one of {', '.join(asked.words)} but is {value!r}")
    if value is None or not asked.is_fraction:
        return value
    with importing():
        from striate.robustness.request import parse_fraction

    return parse_fraction(value, asked.flags[0])
