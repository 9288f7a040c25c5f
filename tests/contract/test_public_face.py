"""What `import striate` promises: a stored list of names, each one typed, found where it is said to be, and
documented.
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import striate
from striate import layers

STORED = Path(__file__).with_name("public_names.txt")
SOURCE = Path(striate.__file__)
HINT = f"if that is meant, edit {STORED.name} and add a line to CHANGELOG.md"


def test_public_names_are_those_stored() -> None:
    """Adding one is a line in the list; taking one away breaks somebody's code."""
    stored = set(STORED.read_text(encoding="utf-8").split())
    assert not (gone := stored - set(striate.__all__)), f"{sorted(gone)} are no longer public; {HINT}"
    assert not (new := set(striate.__all__) - stored), f"{sorted(new)} are newly public; {HINT}"


def test_type_checkers_see_the_same_names() -> None:
    _, typed = (node for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    found = {
        alias.asname: f"{node.module}:{alias.name}"
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    expected = {}
    for name, home in striate._HOMES.items():
        module, _, attribute = home.partition(":")
        expected[name] = f"{module}:{attribute or name}"
    assert found == expected


@pytest.mark.parametrize("name", sorted(set(striate.__all__) - {"__version__"}))
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(striate, name)
    module, _, attribute = striate._HOMES[name].partition(":")
    assert found.__module__ == module, "the table says where it is defined"
    assert found.__name__ == (attribute or name)
    assert inspect.getdoc(found), name
    if inspect.isfunction(found):
        hints = inspect.signature(found)
        assert hints.return_annotation is not inspect.Signature.empty
        assert all(each.annotation is not inspect.Parameter.empty for each in hints.parameters.values())


def test_the_catalogue_is_listed_by_calling_its_room() -> None:
    code = "import striate; rows = striate.networks(family='lenet'); print(len(rows), {row['family'] for row in rows})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split(maxsplit=1)[1].strip() == "{'lenet'}", done.stderr
    assert striate.networks(max_params=1000) == striate.list_networks(max_params=1000)


def test_every_error_is_one_kind() -> None:
    kinds = (striate.InputError, striate.DataError, striate.ModelFileError, striate.RunError, striate.NonFiniteLoss)
    assert all(issubclass(kind, striate.StriateError) for kind in kinds)


def test_layers_name_their_arithmetic() -> None:
    """Functions, also where a file has the same name, and each documented."""
    for name in layers.__all__:
        assert inspect.getdoc(getattr(layers, name)), name
        assert callable(getattr(layers, name)), name
    assert layers.output_size(5, 3, stride=2, padding=1) == 3
