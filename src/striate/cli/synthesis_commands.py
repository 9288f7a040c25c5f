"""The commands that make pictures with a network."""

import typer

from striate.cli import dream, fool, invert, style, texture, visualize


def add_synthesis_commands(app: typer.Typer) -> None:
    """Register them with the application."""
    app.command()(visualize.visualize)
    app.command()(dream.dream)
    app.command()(fool.fool)
    app.command()(invert.invert)
    app.command()(texture.texture)
    app.command()(style.style)
