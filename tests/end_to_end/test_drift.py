"""Drift of real digits: halves of one set are alike, inverted digits and other classes are not, and are named."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import striate


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two halves of 200 digits, one half with many inverted, and one of fives alone."""
    digits, root = load_digits(), tmp_path_factory.mktemp("drift")
    pixels = (digits.images[:400] * 15).astype(np.uint8)
    fives = np.flatnonzero(digits.target == 5)[:60]
    sets = {
        "old": list(pixels[:200]),
        "new": list(pixels[200:400]),
        "inverted": [255 - image if place < 80 else image for place, image in enumerate(pixels[200:400])],
        "fives": list((digits.images[fives] * 15).astype(np.uint8)),
        "few": list(pixels[:5]),
    }
    for name, images in sets.items():
        (root / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).resize((28, 28)).save(root / name / f"{number:03}.png")
    return root


def test_drift_is_found_where_it_is(folders, tmp_path, striate_command):
    old = folders / "old"
    alike = striate_command("drift", "lenet5:mnist", old, folders / "new", "--json")
    assert alike.code == 0
    assert not alike.json["has_drifted"]
    page = tmp_path / "drift.html"
    changed = striate_command("drift", "lenet5:mnist", old, folders / "inverted", "--html", page, "--json")
    assert changed.code == 1
    assert changed.json["features"]["p_value"] < 0.01
    strangest = [int(each["path"].split("/")[-1].removesuffix(".png")) for each in changed.json["strangest"]]
    assert sum(number < 80 for number in strangest) >= 10
    text = page.read_text()
    assert text.count("data:image/jpeg") == 12
    assert "another kind" in text
    words = striate_command("drift", "lenet5:mnist", old, folders / "fives").out
    assert "the new images are of another kind" in words
    assert "  5: " in words


def test_what_cannot_be_tested(folders, striate_command):
    old = folders / "old"
    assert "at least 20 on each side" in striate_command("drift", "lenet5:mnist", old, folders / "few").refused()
    assert "between 0 and 1" in striate_command("drift", "lenet5:mnist", old, old, "--level", "2").refused()
    assert "no layer called" in striate_command("drift", "lenet5:mnist", old, old, "--layer", "conv9").refused()
    with pytest.raises(striate.StriateError):
        striate.find_drift(striate.load_model("lenet5:mnist"), old, folders / "none")
