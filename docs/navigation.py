"""A hook of MkDocs: decisions, and pages that mkdocs.yml does not place, come into the navigation by their own
titles.
"""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Add what lies in docs/ and is not in the navigation yet."""
    folder = Path(config["docs_dir"])
    placed = str(config["nav"])
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    missing = [name for name in found if name not in placed]
    decisions = [name for name in missing if name.startswith("decisions/")]
    config["nav"].append({"Decisions": decisions})
    if others := [name for name in missing if name not in decisions]:
        config["nav"].append({"More": others})
    return config
