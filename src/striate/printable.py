"""Text from strangers made safe to show: names of files and classes, cells of tables, fields of model files.

A terminal obeys control characters, and characters that turn the direction of writing can make a name read as another.
"""

import re

_UNSAFE = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
"""DEL and C1 controls, beside C0; marks, overrides and isolates of direction, separators of lines, stray surrogates."""
_FIND = re.compile(f"[\x00-\x1f{_UNSAFE}]")
_FIND_BUT_NEWLINE = re.compile(f"[\x00-\x09\x0b-\x1f{_UNSAFE}]")
_FORMULA = ("=", "+", "-", "@")


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """The text on one line, each unsafe character as an escape such as \\x1b, \\n or \\u202e; bytes of a file's name
    that are no UTF-8 as the replacement character. With `keep_newlines` line breaks stay.
    """
    return (_FIND_BUT_NEWLINE if keep_newlines else _FIND).sub(_escaped, text)


def excerpt(text: str, most: int = 200) -> str:
    """The text, or its beginning and "..." where it is longer than `most`: what a stranger's file holds may fill many
    screens.
    """
    return text if len(text) <= most else f"{text[:most]}..."


def json_safe(text: str) -> str:
    """A JSON document without unsafe characters: inside its strings they become \\u escapes, which parse as the same
    text.
    """
    return _FIND_BUT_NEWLINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def spreadsheet_cell(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: one that begins like a formula gets an apostrophe
    first.
    """
    line = printable(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0]) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    )
