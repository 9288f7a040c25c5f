"""The options of a run on the command line, made from the fields of `Choices`, so that each is written once."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from striate.cli.memory import importing
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.recipes.option import Option


def with_choices(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command, in place of its parameter `choices: Choices`, an option for each field of these names, of all by
    default.
    """
    fields = [each for each in dataclasses.fields(Choices) if not names or each.name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            chosen = {each.name: _read(each.metadata["option"], given.pop(each.name)) for each in fields}
            command(**given, choices=Choices(**chosen))

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            options = [_parameter(each, with_panels=not names) for each in fields]
            parameters += options if parameter.name == "choices" else [own]
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _parameter(field: "dataclasses.Field[Any]", *, with_panels: bool) -> inspect.Parameter:
    """A field as a parameter that Typer makes an option of."""
    asked: Option = field.metadata["option"]
    panel = asked.panel if with_panels else None
    shown = typer.Option(*asked.flags, help=asked.help, metavar=asked.metavar, rich_help_panel=panel)
    annotation: Any = Annotated[str | None, shown] if asked.is_fraction else Annotated[field.type, shown]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


def _read(asked: Option, value: Any) -> Any:
    if value is not None and asked.words and value not in asked.words:
        raise InputError(f"{asked.flags[0]} must be one of {', '.join(asked.words)} but is {value!r}")
    if value is None or not asked.is_fraction:
        return value
    with importing():
        from striate.robustness.request import parse_fraction

    return parse_fraction(value, asked.flags[0])
