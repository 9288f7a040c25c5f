"""Names of classes that look like missing values, or like each other: told, never changed."""

import numpy as np
import pytest

from striate.data.readers.class_spelling import spelling_notices
from striate.data.readers.sources import open_source


def notices(*names: str) -> tuple[str, ...]:
    return spelling_notices(names, np.arange(len(names)))


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "NA", "n/a", "null", "<NA>", "", " ", "?"])
def test_what_looks_like_a_missing_value(name):
    assert notices("cat", name) == (
        f"1 image has the class {name!r}, which looks like a missing value; give them their class, or take them out",
    )


@pytest.mark.parametrize("pair",
[("Cat", "cat"), ("golden  retriever", "golden retriever"), ("cat ", "cat"), ("cat\u200b", "cat"),
                                  ("goldenretriever", "Golden Retriever"), ("STRASSE", "straße"),
                                  ("a\u00a0b", "a b")])  # fmt: skip
def test_names_that_differ_by_case_or_blanks_only(pair):
    assert notices(*pair, "dog") == (
        f"classes that differ by case or blanks only: {pair[0]!r} and {pair[1]!r}; if they are the same, spell them "
        "alike",
    )


def test_different_names_need_no_word():
    assert notices("cat", "cats", "nanny", "0", "00", "a-b", "a b") == ()


def test_every_kind_of_source_is_looked_at(tmp_path):
    for number, folder in enumerate(("folders/Cat", "folders/cat", "folders/nan")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(bytes([number]))
    lines = "".join(f"{name}/1.png,{name}\n" for name in ("Cat", "cat", "nan"))
    (tmp_path / "folders" / "list.csv").write_text("path,label\n" + lines)
    np.savez(tmp_path / "a.npz", x_train=np.zeros((3, 4, 4), np.uint8), y_train=np.array(["Cat", "cat", "nan"]))
    for source in ("folders", "folders/list.csv", "a.npz"):
        told = open_source(tmp_path / source).notices
        assert any("'Cat' and 'cat'" in line for line in told), source
        assert any("'nan', which looks like a missing value" in line for line in told), source
