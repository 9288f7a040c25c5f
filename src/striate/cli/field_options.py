"""A parameter of a command that is a dataclass, as one option for each of its fields."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def with_fields(
    command: Callable[..., None],
    parameter: str,
    options: Mapping[str, tuple[Any, Any]],
    make: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """The command with `options`, annotation and default by name, in the place of a parameter, which `make` makes
    of what was typed.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    fields: Sequence[inspect.Parameter] = [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command).parameters.values():
        parameters += fields if own.name == parameter else [own.replace(kind=kind)]
    signature = inspect.Signature(parameters)

    @functools.wraps(command)
    def with_options(*args: Any, **values: Any) -> None:
        given = signature.bind(*args, **values).arguments
        typed = {name: given.pop(name) for name in options if name in given}
        command(**given, **{parameter: make(typed)})

    with_options.__signature__ = signature  # type: ignore[attr-defined]  # what Typer reads options from
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options
