"""The house: imports run inward only, and what must start quickly does not import torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import striate

SOURCE = Path(striate.__file__).parent
ORDER = (
    {"errors", "version", "progress", "registry", "processor", "printable", "notebook", "canvas", "units"},
    {"data", "layers"},
    {"networks"},
    {"weights"},
    {"tasks"},
    {"inspection", "evaluation", "export"},
    {"training", "engines", "explanation", "synthesis", "robustness"},
    {"compression", "generation", "sequences", "reinforcement", "baselines", "retrieval"},
    {"reports"},
    {"recipes", "serving"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem in LEVEL)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms of striate that a file imports, wherever in the file the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("striate.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_inward(path):
    own = room_of(path)
    assert own in LEVEL, f"{own} has no place in the house; give it one in ORDER"
    for room in imported_rooms(path) - {own}:
        assert room in LEVEL, f"{path.name} imports striate.{room}, which has no place in the house"
        assert LEVEL[room] <= LEVEL[own], f"{path.name} of {own} imports outward, from {room}"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        *(
            [command, "--help"]
            for command in ("train", "predict", "export", "check", "bench", "explain", "attack", "look")
        ),
        ["--version"],
    ],
)
def test_help_does_not_import_torch(words):
    code = (
        "import sys\n"
        f"sys.argv = ['striate', *{words!r}]\n"
        "from striate.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_importing_striate_brings_nothing_else():
    code = "import sys; before = set(sys.modules); import striate; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} <= {"striate", "importlib", "warnings"}


@pytest.mark.parametrize("module", ["striate.reports.report", "striate.recipes.run_list", "striate.engines.predicting"])
def test_what_needs_no_torch_does_not_import_it(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_public_names_resolve_and_a_misspelt_one_does_not():
    for name in striate.__all__:
        assert getattr(striate, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        striate.trian  # noqa: B018
