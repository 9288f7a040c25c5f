"""Words that people of this field do not use must not come back: docs and messages say what the field says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = {
    r"the slow way": "the reference (float32 PyTorch)",
    r"judge again|judged again": "re-evaluate",
    r"takes? up where": "resume",
    r"as sure as it is right": "calibrated",
    r"by heart": "overfits",
    r"near ties": "low-margin predictions",
    r"taken for what": "read as, confused with",
    r"tell_nobody|failing_together|one_a_node_first|own_place": "log_nothing, raise_on_all_ranks, rank_zero_first, "
    "current_rank",
}
SUFFIXES = (".py", ".md", ".jinja")
FILES = [
    ROOT / "README.md",
    *(
        path
        for folder in ("src/striate", "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES
    ),
]


@pytest.mark.parametrize("pattern", GLOSSARY)
def test_words_of_the_field(pattern):
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not found, f"say {GLOSSARY[pattern]!r} instead in {', '.join(found[:10])}"
