"""A class by the name that a person types."""

import pytest

from striate.errors import InputError
from striate.tasks.classification.class_lookup import find_class

NAMES = ("crane", "Tench", "great white shark", "tiger shark", "7", "maillot", "maillot")


@pytest.mark.parametrize(("text", "index"), [("crane", 0), ("tench", 1), ("7", 4), ("2", 2), (" Tench ", 1)])
def test_found(text, index):
    assert find_class(text, NAMES) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maillot", "2 classes are called 'maillot', numbers 5, 6; give a number"),
        ("shark", "no class 'shark'; did you mean great white shark, tiger shark"),
        ("tensh", "did you mean Tench"),
        ("12", "classes 0 to 6"),
        ("xylophone", "it has crane, Tench"),
    ],
)
def test_refused(text, message):
    with pytest.raises(InputError, match=message):
        find_class(text, NAMES)
