"""Names from strangers as a terminal, a JSON document, a spreadsheet may have them."""

import json

import pytest

from striate.printable import json_safe, printable, spreadsheet_cell

NASTY = "a\x1b[2J\n\r\t\x07\x7f\x9b31m\u202egnp\u2066\u2028\udcff"


def test_unsafe_characters_are_shown_and_letters_stay():
    assert printable(NASTY) == "a\\x1b[2J\\n\\r\\t\\x07\\x7f\\x9b31m\\u202egnp\\u2066\\u2028\N{REPLACEMENT CHARACTER}"
    for text in ("größe 猫 עברית العربية", "👩‍🔬 café"):
        assert printable(text) == text
    assert printable("a\nb\x1b", keep_newlines=True) == "a\nb\\x1b"


def test_json_parses_as_the_same_text_without_a_raw_control():
    document = {NASTY: [NASTY]}
    text = json_safe(json.dumps(document, ensure_ascii=False, indent=1))
    assert json.loads(text) == document
    assert printable(text, keep_newlines=True) == text


@pytest.mark.parametrize(("text", "cell"), [("=1+1", "'=1+1"), ("@a", "'@a"), ("-x", "'-x"), ("a=1", "a=1"), ("", "")])
def test_no_cell_is_a_formula(text, cell):
    assert spreadsheet_cell(text) == cell
