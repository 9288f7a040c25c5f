"""What `striate train` can tell of a run without making it: its plan, whether it repeats itself, a scan of rates."""

import sys
from typing import TYPE_CHECKING

import typer

from striate.cli.console import show_json, suggest

if TYPE_CHECKING:
    from striate.cli.progress_display import LiveDisplay
    from striate.data.opening import Access
    from striate.recipes.choices import Choices


def tell_plan(
    source: str,
    choices: "Choices",
    *,
    device: str,
    measure: bool,
    access: "Access",
    display: "LiveDisplay",
    as_json: bool,
) -> None:
    """`--dry-run`: network, size, epochs and time."""
    from striate.recipes.train import plan_run

    plan = plan_run(source, choices, device=device, measure=measure, access=access)
    if as_json:
        show_json(plan.to_json())
        return
    display.show_plan(plan)
    suggest("striate", *_without("--dry-run"), what="the run itself")


def tell_repeatability(
    source: str, choices: "Choices", *, device: str, access: "Access", display: "LiveDisplay", as_json: bool
) -> None:
    """`--verify`: whether ten steps are equal bit for bit; exit code 1 where they are not."""
    from striate.recipes.train import verify_training

    repeated = verify_training(source, choices, device=device, access=access)
    if as_json:
        show_json(repeated.to_json())
    else:
        display.show_repeatability(repeated)
        suggest("striate", *_without("--verify"), what="the run itself")
    if not repeated.is_equal:
        raise typer.Exit(1)


def tell_rates(
    source: str, choices: "Choices", *, device: str, access: "Access", display: "LiveDisplay", as_json: bool
) -> None:
    """`--find-rate`: the loss at each rate, and the rate to take."""
    from striate.recipes.train import find_rate

    scan = find_rate(source, choices, device=device, access=access)
    if as_json:
        show_json(scan.to_json())
        return
    display.show_rates(scan)
    rate = scan.suggested_learning_rate
    suggest("striate", *_without("--find-rate"), *([] if rate is None else ["--learning-rate", f"{rate:.2g}"]))


def _without(flag: str) -> list[str]:
    """The words that were typed, but for a flag."""
    return [word for word in sys.argv[1:] if word != flag]
