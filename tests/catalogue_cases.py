"""Which networks of the catalogue a test goes over: `make test` takes the smallest of each family, `make test-all`
every one.
"""

from collections.abc import Callable, Iterable

import pytest

from striate.networks.catalogue import CATALOGUE
from striate.networks.entry import Entry

DEEP = ("resnet1202_cifar", "preact_resnet1001_cifar")
"""A thousand layers take half a minute to export and seconds for all else; they are of the same blocks as
resnet56_cifar and preact_resnet164_cifar. They are counted.
"""
ENTRIES = [entry for entry in CATALOGUE.values() if entry.name not in DEEP]


def cost(entry: Entry) -> float:
    """Multiply-adds and parameters together, at the network's own image size."""
    return entry.macs + entry.num_params


def smallest_of_families(entries: Iterable[Entry], key: Callable[[Entry], float] = cost) -> list[Entry]:
    """The entry of each family with the lowest `key`."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=key):
        found.setdefault(entry.family, entry)
    return list(found.values())


def over(entries: Iterable[Entry]) -> pytest.MarkDecorator:
    """A test for each of these entries."""
    return pytest.mark.parametrize("entry", list(entries), ids=lambda entry: entry.name)


def over_families(entries: Iterable[Entry]) -> pytest.MarkDecorator:
    """A test for the smallest of each family among these entries, and, in `make test-all`, for each of the others."""
    entries = list(entries)
    smallest = smallest_of_families(entries)
    others = [pytest.param(entry, marks=pytest.mark.exhaustive) for entry in entries if entry not in smallest]
    return pytest.mark.parametrize("entry", [*smallest, *others], ids=lambda entry: entry.name)
