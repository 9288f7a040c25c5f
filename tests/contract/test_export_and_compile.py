"""Every network can be exported; the smallest of every family gives the same answers exported and compiled."""

from math import prod

import pytest
import torch

from catalogue_cases import ENTRIES, over, smallest_of_families
from striate.networks.catalogue import build_network
from striate.networks.entry import Entry

MOST_WORK = 1.5e8
"""Multiply-adds and parameters together of what is compiled: compilers take their time."""


def small_size(entry: Entry) -> tuple[int, int]:
    if entry.is_fixed_size:
        return entry.min_size
    return max(entry.min_size[0], 32), max(entry.min_size[1], 36)


def work(entry: Entry) -> float:
    return entry.macs * prod(small_size(entry)) / prod(entry.input_size[1:]) + entry.num_params


SMALLEST = smallest_of_families(ENTRIES, key=work)
OTHERS = [entry for entry in ENTRIES if entry not in SMALLEST]


def test_nearly_every_family_is_compiled() -> None:
    assert sum(work(entry) < MOST_WORK for entry in SMALLEST) >= 23


@over(SMALLEST)
def test_exported_and_compiled_programs_answer_the_same(entry: Entry) -> None:
    """torch.export's program, and the graph that torch.compile traces whole, run without a code generator."""
    network = build_network(entry.name, num_classes=3, seed=0).eval()
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        tolerance = {"rtol": 1e-4, "atol": 1e-5 * max(1, expected.abs().max().item())}
        program = torch.export.export(network, (images,)).module()
        torch.testing.assert_close(program(images), expected, **tolerance)
        if work(entry) < MOST_WORK:
            compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
            torch.testing.assert_close(compiled(images), expected, **tolerance)
    torch.compiler.reset()


@pytest.mark.exhaustive
@over(OTHERS)
def test_all_others_are_exported_whole(entry: Entry) -> None:
    """Without their weights: the whole forward pass becomes one graph, whose answer has the right shape."""
    network = build_network(entry.name, num_classes=3, device="meta").eval()
    images = torch.empty(2, entry.input_size[0], *small_size(entry), device="meta")
    with torch.no_grad():
        program = torch.export.export(network, (images,))
        assert program.module()(images).shape == (2, 3)
    assert {name for name, _ in network.named_parameters()} == set(program.graph_signature.parameters)
