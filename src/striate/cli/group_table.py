"""Figures by group on the screen, the worst first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from striate.cli.console import out
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.evaluation.group_figures import GroupFigures

_MOST_GROUPS = 20


def show_groups(name: str, by: str, groups: "Sequence[GroupFigures]") -> None:
    """A line that names the worst group of a model, and whether chance alone may make it so; a row for each group."""
    worst = groups[0]
    say = "worse than the rest by more than chance" if worst.is_worse else "chance alone may make such a difference"
    out.print(Text(f"{name} by {by}: lowest is {worst.name} with {percent(worst.accuracy)}; {say}"), soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("group", "images", "accuracy", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "group" else "right", overflow="fold")
    for group in groups[:_MOST_GROUPS]:
        mark = " *" if group.is_worse else ""
        table.add_row(
            Text(group.name + mark),
            f"{group.num_images:,}",
            percent(group.accuracy),
            percent_range(*group.interval),
        )
    out.print(table)
    if any(group.is_worse for group in groups):
        out.print(Text("* worse than the other images together, at 5 % for all groups", style="dim"))
    if len(groups) > _MOST_GROUPS:
        out.print(Text(f"and {len(groups) - _MOST_GROUPS:,} more groups; --json names them all", style="dim"))
