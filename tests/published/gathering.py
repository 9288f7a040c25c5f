"""The tables of published figures, one file for some families, gathered.

A file of tables/ may define PARAMS, rows (network, parameters, source); MACS, rows (network, multiply-adds printed,
relative tolerance, source); SHAPES, rows (network, input size, {layer: output shape}, source).
"""

import importlib
from pathlib import Path
from typing import Any


def rows(table: str) -> list[tuple[Any, ...]]:
    """Every row of the tables of that name, in the order of their files."""
    files = sorted(path.stem for path in (Path(__file__).parent / "tables").glob("*.py"))
    return [row for stem in files for row in getattr(importlib.import_module(f"published.tables.{stem}"), table, [])]
