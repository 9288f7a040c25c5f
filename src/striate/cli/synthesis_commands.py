"""The commands that make pictures with a network."""

import typer

from striate.cli import visualize


def add_synthesis_commands(app: typer.Typer) -> None:
    """Register them with the application."""
    app.command()(visualize.visualize)
