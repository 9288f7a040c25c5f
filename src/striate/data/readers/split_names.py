"""What people call the parts of a data set, in folders and in tables, and what striate calls them."""

import re
from collections.abc import Iterable

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "validate": "validation",
    "dev": "validation",
    "devel": "validation", "development": "validation",
    "test": "test", "testing": "test", "tst": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip
"""The words, in lower case. An evaluation part is taken for a test: the training never looks at it."""
_FILLERS = "datasets?|data|sets?|images?|imgs?|pictures?|pics?|photos?|samples?|splits?|folder|files?|part|subset"
_WORDS = "|".join(sorted(SPLIT_WORDS, key=len, reverse=True))
_NAME = re.compile(f"(?:{_FILLERS})*({_WORDS})(?:{_FILLERS})*")
_TOKENS = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def split_of(name: str) -> str | None:
    """ "train", "validation" or "test" for a name that says nothing but that: Train, training_set, test-images,
    valData, train2017; None for any other.
    """
    found = _NAME.fullmatch(re.sub("[^a-z]", "", name.lower()))
    return None if found is None else SPLIT_WORDS[found[1]]


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """The splits of those of these sibling names that stand for one, by name.

    Beside what `split_of` knows, names count that share all but the word: seg_train and seg_test, asl_alphabet_train
    and asl_alphabet_test. They must stand for different splits, the training part among them.
    """
    listed = list(names)
    known = {name: split for name in listed if (split := split_of(name)) is not None}
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for name in listed:
        tokens = [token.lower() for token in _TOKENS.findall(name)]
        words = [token for token in tokens if token in SPLIT_WORDS]
        if name not in known and len(words) == 1:
            rest = tuple(token for token in tokens if token not in SPLIT_WORDS)
            alike.setdefault(rest, {})[name] = SPLIT_WORDS[words[0]]
    for group in alike.values():
        if len(group) > 1 and "train" in group.values() and len(set(group.values())) == len(group):
            known |= group
    return known
