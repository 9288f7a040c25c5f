"""The reference pages hold every public name once, and `make docs` knows every page's title."""

import importlib.util
from pathlib import Path

import striate

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference" / "pages.py"


def test_the_reference_has_every_public_name_once() -> None:
    spec = importlib.util.spec_from_file_location("pages", PAGES)
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    text = "".join(pages.pages().values())
    for name, place in pages.public_objects().items():
        assert text.count(f"::: {place}\n") == 1, name
        assert text.count(f"- [`striate.{name}`][{place}]") == 1, name
    assert set(pages.public_objects()) == set(striate.__all__) - {"__version__"}
