"""OverFeat: its window, the map of answers, and the checks of its configuration."""

import dataclasses

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.overfeat import ACCURATE, FAST, OverFeat, OverFeatConfig

UNPADDED = OverFeatConfig(
    num_classes=4, convolutions=((3, 3, 2, 0, 2), (5, 3, 1, 0, 3)), classifier_size=2, hidden_widths=(6, 7)
)
"""Without padding, nothing beyond a window reaches its answer."""


def test_window_on_paper() -> None:
    """2 places of 3 are 6, which 3x3 filters see 8 of; 8 places of 2 are 16, which 3x3 filters at 2 see 33 of."""
    assert UNPADDED.window == 33
    assert OverFeatConfig(convolutions=FAST).window == 231
    assert OverFeatConfig(convolutions=ACCURATE, classifier_size=5).window == 221


def test_larger_images_give_the_answers_of_their_windows() -> None:
    """At steps of all strides and poolings together, 2 * 2 * 3 * 1 = 12 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = OverFeat(UNPADDED).eval()
    for param in network.parameters():
        nn.init.normal_(param, std=0.3, generator=torch.Generator().manual_seed(param.numel()))
    images = torch.randn(2, 3, 33 + 12, 33 + 24, generator=torch.Generator().manual_seed(1))
    answers = network.logit_map(images)
    assert answers.shape == (2, 4, 2, 3)
    for row in range(2):
        for column in range(3):
            window = images[:, :, 12 * row : 12 * row + 33, 12 * column : 12 * column + 33]
            torch.testing.assert_close(answers[:, :, row, column], network(window))
    torch.testing.assert_close(network(images), answers.flatten(2).mean(dim=2))
    assert answers.std(dim=(2, 3)).min() > 0


@pytest.mark.parametrize(("name", "step"), [("overfeat_fast", 32), ("overfeat_accurate", 36)])
def test_one_more_answer_every_step(name: str, step: int) -> None:
    """The authors' program prints these steps: 32 pixels for its small network, 36 for its large one."""
    side = CATALOGUE[name].input_size[1]
    network = build_network(name, num_classes=2, device="meta").eval()
    assert isinstance(network, OverFeat)
    for height, num_answers in ((side, 1), (side + step - 1, 1), (side + step, 2), (side + 2 * step, 3)):
        answers = network.logit_map(torch.empty(1, 3, height, side, device="meta"))
        assert answers.shape == (1, 2, num_answers, 1)


def test_pooling_does_not_overlap_and_nothing_is_normalised() -> None:
    for name in ("overfeat_fast", "overfeat_accurate"):
        modules = list(build_network(name, device="meta").modules())
        assert all(module.kernel_size == module.stride for module in modules if isinstance(module, nn.MaxPool2d))
        assert not [module for module in modules if "Norm" in type(module).__name__]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convolutions": ()}, "convolutions must be rows of maps, filter size, stride, padding and pooling"),
        ({"convolutions": ((8, 3, 1, 1),)}, r"but are \(\(8, 3, 1, 1\),\)"),
        ({"convolutions": ((8, 3, 0, 1, 2),)}, r"each at least 1 but the padding, but are \(\(8, 3, 0, 1, 2\),\)"),
        ({"classifier_size": 0}, r"classifier_size and hidden_widths must be at least 1 but are 0 and \(3072, 4096\)"),
        ({"hidden_widths": (8, 0)}, r"but are 6 and \(8, 0\)"),
        ({"dropout": 1.5}, "dropout must be at least 0 and below 1 but is 1.5"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(OverFeatConfig(), **changes)


def test_without_hidden_layers_the_classes_see_the_maps() -> None:
    network = OverFeat(dataclasses.replace(UNPADDED, hidden_widths=())).eval()
    assert network(torch.zeros(1, 3, 33, 33)).shape == (1, 4)
