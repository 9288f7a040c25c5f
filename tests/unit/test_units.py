"""One way of writing numbers, on screens and pages."""

import re
from pathlib import Path

import pytest

import striate
from striate.units import clock, counted, page_percent, percent, percent_range, short_count, short_size

SOURCE = Path(striate.__file__).parent


@pytest.mark.parametrize(
    ("fraction", "digits", "text"), [(0.97222, 2, "97.22 %"), (0.5, 0, "50 %"), (1, 1, "100.0 %"), (None, 2, "–")]
)
def test_fractions_in_per_cent(fraction, digits, text):
    assert percent(fraction, digits) == text


def test_a_range_has_one_sign_and_a_page_does_not_round_to_certainty():
    assert percent_range(0.93711, 0.99018) == "93.71 to 99.02 %"
    shown = [page_percent(value).replace("\N{NO-BREAK SPACE}", " ") for value in (0, 0.0002, 0.934, 0.99999, 1, None)]
    assert shown == ["0 %", "< 0.1 %", "93.4 %", "> 99.9 %", "100 %", "–"]


def test_counts_sizes_and_spans():
    assert [counted(1, "image"), counted(1200, "image"), counted(0, "class", "classes")] == [
        "1 image",
        "1,200 images",
        "0 classes",
    ]
    assert [short_count(999), short_count(61_706), short_count(11_689_512)] == ["999", "61.7 k", "11.7 M"]
    assert [short_size(10), short_size(1_200_000)] == ["10 B", "1.2 MB"]
    assert [clock(61), clock(3_725)] == ["1:01", "1:02:05"]


def test_no_other_module_writes_per_cent_itself():
    own_way = re.compile(r":[<>]?\d*\.\d[f%]\}(?: ?%|\\N\{NO-BREAK SPACE\}%)|:\.\d%\}")
    others = [
        f"{path.relative_to(SOURCE)}: {found[0]}"
        for path in SOURCE.rglob("*")
        if path.suffix in (".py", ".jinja") and path.name != "units.py"
        for found in own_way.finditer(path.read_text(encoding="utf-8"))
    ]
    assert others == []
