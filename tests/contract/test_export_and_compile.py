"""The smallest network of every family can be exported and compiled, with the same answers."""

from math import prod

import pytest
import torch

from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.entry import Entry

MOST_WORK = 1.5e8
"""Multiply-adds and parameters together: what costs more is left to benchmarks/promises.py."""


def small_size(entry: Entry) -> tuple[int, int]:
    if entry.is_fixed_size:
        return entry.min_size
    return max(entry.min_size[0], 32), max(entry.min_size[1], 36)


def work(entry: Entry) -> float:
    return entry.macs * prod(small_size(entry)) / prod(entry.input_size[1:]) + entry.num_params


def smallest_of_families() -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in sorted(CATALOGUE.values(), key=work):
        found.setdefault(entry.family, entry)
    return [entry for entry in found.values() if work(entry) < MOST_WORK]


every_family = pytest.mark.parametrize("entry", smallest_of_families(), ids=lambda entry: entry.name)


def test_nearly_every_family_is_here() -> None:
    assert len(smallest_of_families()) >= 23


@every_family
def test_exported_and_compiled_programs_answer_the_same(entry: Entry) -> None:
    """torch.export's program, and the graph that torch.compile traces whole, run without a code generator."""
    network = build_network(entry.name, num_classes=3, seed=0).eval()
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        tolerance = {"rtol": 1e-4, "atol": 1e-5 * max(1, expected.abs().max().item())}
        program = torch.export.export(network, (images,)).module()
        torch.testing.assert_close(program(images), expected, **tolerance)
        compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), expected, **tolerance)
    torch.compiler.reset()
