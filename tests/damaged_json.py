"""JSON documents with a part of another type or value, drawn by a seed, for tests of what reads them."""

import copy
import random
from typing import Any

VALUES = [
    None,
    True,
    False,
    -1,
    0,
    2**63,
    10**30,
    0.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "32-true",
    [],
    {},
    [{}],
    {"a": 1},
]
TEXTS = (
    "",
    "null",
    "[]",
    "{}",
    "3",
    '"x"',
    "[" * 50_000,
    '{"version": ' + "9" * 5000 + "}",
    "\0",
    "[[]]",
    "[null]",
    "[{}]",
)
"""Whole documents that are not what they should be."""


def with_another_part(document: Any, draw: random.Random) -> Any:
    """A copy of a document in which one part, at any depth, is another value, missing, or there twice."""
    document = copy.deepcopy(document)
    part = document
    while True:
        key = draw.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if draw.random() < 0.3 or not isinstance(part[key], dict | list) or not part[key]:
            break
        part = part[key]
    kind = draw.randrange(8)
    if kind == 0:
        del part[key]
    elif kind == 1 and isinstance(part, list):
        part.insert(key, part[key])
    else:
        part[key] = draw.choice(VALUES)
    return document
