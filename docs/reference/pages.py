"""Writes the reference: one page a group of rooms, with every public name of striate, for `make docs`. Needs no
torch.
"""

import ast
from collections import defaultdict
from pathlib import Path

import striate

GROUPS = {
    "training": ("Training", "Whole runs, and what decides them.", ("recipes", "training", "reports")),
    "models": ("Models, predictions, figures", "A model, what it predicts, and how well.",
    ("tasks", "evaluation", "baselines", "retrieval")),
    "data": ("Data", "Sources of images, their preparation, and augmentation.", ("data",)),
    "networks": ("Networks", "The catalogue, and what any network is made of.",
    ("networks", "layers", "weights", "inspection")),
    "engines": ("Engines and export", "One program from pixels to outputs, and what computes it fastest.",
    ("engines", "export")),
    "looking": ("Explaining and drawing", "What a network looks at, and what it would like to see.",
    ("explanation", "synthesis")),
    "pressing": ("Attacking and compressing", "How little fools a model, and how small it can be.",
    ("robustness", "compression")),
    "errors": ("Errors", "Every error that striate raises on purpose is one line: what was expected, what came, what "
        "to do.", ("errors",)),
}  # fmt: skip
"""Page -> title, first sentence, rooms."""
FOLDER = Path(__file__).parent


def public_objects() -> dict[str, str]:
    """`module.name` of every public name, by that name."""
    found = {}
    for name, home in striate._HOMES.items():
        module, _, attribute = home.partition(":")
        found[name] = f"{module}.{attribute or name}"
    return found


def _layers() -> str:
    """The page of striate.layers, from the list in its source, which is not imported: that would need torch."""
    module = ast.parse((Path(striate.__file__).parent / "layers" / "__init__.py").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module for node in module.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names = sorted(homes, key=lambda name: (name[0].isupper(), name.lower()))
    directives = "\n\n".join(f"::: {homes[name]}.{name}" for name in names)
    return f"# Layers\n\nArithmetic that PyTorch lacks or hides; [on paper](../layers.md).\n\n{directives}\n"


def pages() -> dict[str, str]:
    """The text of each page by its name; a room that is in no group comes under "others"."""
    page_of = {room: page for page, (_, _, rooms) in GROUPS.items() for room in rooms}
    names: dict[str, list[str]] = defaultdict(list)
    objects = public_objects()
    for name, place in objects.items():
        names[page_of.get(place.split(".")[1], "others")].append(name)
    texts = {}
    for page, members in names.items():
        title, sentence, _ = GROUPS.get(page, ("Others", "What the other rooms offer.", ()))
        members.sort(key=lambda name: (name[0].isupper(), name.lower()))  # functions first
        listed = "\n".join(f"- [`striate.{name}`][{objects[name]}]" for name in members)
        directives = "\n\n".join(f"::: {objects[name]}" for name in members)
        texts[page] = f"# {title}\n\n{sentence}\n\n{listed}\n\n{directives}\n"
    texts["layers"] = _layers()
    return texts


if __name__ == "__main__":
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for page, text in pages().items():
        (FOLDER / f"{page}.md").write_text(text, encoding="utf-8")
