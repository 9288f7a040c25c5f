"""Inception v4, Inception-ResNet v2 and Xception against timm's with equal weights."""

import re

import pytest
import timm
import torch
from torch import nn

from oracle.test_networks_torchvision import shake_norms
from striate.networks.catalogue import build_network
from striate.networks.families.inception_resnet import InceptionResNetConfig, inception_resnet_v2
from striate.networks.families.inception_v4 import InceptionV4, InceptionV4Config
from striate.networks.families.xception import Xception, XceptionConfig

SPREAD = {
    "branch2.0": "branch1_0", "branch2.1.branch1": "branch1_1a", "branch2.1.branch2": "branch1_1b",
    "branch3.0": "branch2_0", "branch3.1": "branch2_1", "branch3.2": "branch2_2",
    "branch3.3.branch1": "branch2_3a", "branch3.3.branch2": "branch2_3b",
}  # fmt: skip
"""timm's names inside v4's C blocks."""


def from_zero(name: str) -> str:
    """timm counts branches from 0, we from 1."""
    return re.sub(r"branch(\d)", lambda match: f"branch{int(match[1]) - 1}", name)


def timm_name_v4(name: str, depths: tuple[int, int, int]) -> str:
    """All of timm's features are one row of modules; the stem's joined pools and convolutions have names of their
    own.
    """
    if name.startswith("fc."):
        return name.replace("fc", "last_linear", 1)
    _, stage, rest = name.split(".", 2)
    starts = {"stem": 0, "inception_a": 6, "reduction_a": 6 + depths[0], "inception_b": 7 + depths[0]}
    starts["reduction_b"] = 7 + depths[0] + depths[1]
    starts["inception_c"] = starts["reduction_b"] + 1
    if stage.startswith("reduction"):
        return f"features.{starts[stage]}.{from_zero(rest)}"
    number, rest = rest.split(".", 1)
    index = starts[stage] + int(number)
    if stage == "inception_c":
        for ours, theirs in SPREAD.items():
            if rest.startswith(f"{ours}."):
                return f"features.{index}.{theirs}{rest.removeprefix(ours)}"
    if stage == "stem" and number in ("3", "5"):
        return f"features.{index}.conv{rest.removeprefix('branch2' if number == '3' else 'branch1')}"
    return f"features.{index}.{from_zero(rest)}"


RESNET_V2 = {
    "features.stem.0.": "conv2d_1a.", "features.stem.1.": "conv2d_2a.", "features.stem.2.": "conv2d_2b.",
    "features.stem.4.": "conv2d_3b.", "features.stem.5.": "conv2d_4a.", "features.stem.7.": "mixed_5b.",
    "features.residual_a.": "repeat.", "features.reduction_a.": "mixed_6a.", "features.residual_b.": "repeat_1.",
    "features.reduction_b.": "mixed_7a.", "features.residual_c.": "repeat_2.", "features.last.": "conv2d_7b.",
    "fc.": "classif.",
}  # fmt: skip


def timm_name_resnet_v2(name: str, depths: tuple[int, int, int]) -> str:
    """Stages have other names, the last C block stands alone, and blocks have their branches beside the projection."""
    name = name.replace(f"features.residual_c.{depths[2] - 1}.", "block8.")
    for ours, theirs in RESNET_V2.items():
        if name.startswith(ours):
            name = name.replace(ours, theirs, 1)
    return from_zero(name.replace(".branches.", ".").replace(".project.", ".conv2d."))


def timm_name_xception(name: str, middle_depth: int) -> str:
    """Blocks are numbered through; a block's body is called rep, its shortcut skip, its depthwise convolution conv1."""
    starts = {"entry": 1, "middle": 4}
    stage, _, rest = name.partition(".")
    if stage in starts:
        number, rest = rest.split(".", 1)
        name = f"block{starts[stage] + int(number)}.{rest}"
    elif stage == "exit":
        name = f"block{4 + middle_depth}.{rest}"
    name = name.replace(".shortcut.0.", ".skip.").replace(".shortcut.1.", ".skipbn.").replace(".body.", ".rep.")
    return name.replace(".depthwise.", ".conv1.")


@pytest.mark.parametrize(
    ("name", "timm_name", "translate"),
    [
        ("inception_v4", "inception_v4", lambda name: timm_name_v4(name, (4, 7, 3))),
        ("inception_resnet_v2", "inception_resnet_v2", lambda name: timm_name_resnet_v2(name, (10, 20, 10))),
        ("xception", "legacy_xception", lambda name: timm_name_xception(name, 8)),
    ],
)
def test_names_and_shapes_are_timms_translated(name, timm_name, translate):
    with torch.device("meta"):
        oracle = timm.create_model(timm_name).state_dict()
    ours = build_network(name, device="meta").state_dict()
    assert {translate(key): value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in oracle.items()
    }


def shortened_v4() -> nn.Module:
    """timm's network with one block of each kind."""
    with torch.device("meta"):
        network = timm.create_model("inception_v4", num_classes=5)
        network.features = nn.Sequential(*(network.features[i] for i in (*range(6), 6, 10, 11, 18, 19)))
    return network


def shortened_resnet_v2() -> nn.Module:
    """timm's network with one A, one B and two C blocks."""
    with torch.device("meta"):
        network = timm.create_model("inception_resnet_v2", num_classes=5)
        network.repeat, network.repeat_1, network.repeat_2 = (
            network.repeat[:1],
            network.repeat_1[:1],
            network.repeat_2[:1],
        )
    return network


def shortened_xception() -> nn.Module:
    """timm's network with one middle block, its exit block renumbered."""
    with torch.device("meta"):
        network = timm.create_model("legacy_xception", num_classes=5)
        network.block5 = network.block12
        for number in range(6, 13):
            setattr(network, f"block{number}", nn.Identity())
    return network


@pytest.mark.parametrize(
    ("build", "shorten", "translate"),
    [
        (
            lambda: InceptionV4(InceptionV4Config(num_classes=5, depths=(1, 1, 1))),
            shortened_v4,
            lambda name: timm_name_v4(name, (1, 1, 1)),
        ),
        (
            lambda: inception_resnet_v2(InceptionResNetConfig(num_classes=5, depths=(1, 1, 2))),
            shortened_resnet_v2,
            lambda name: timm_name_resnet_v2(name, (1, 1, 2)),
        ),
        (
            lambda: Xception(XceptionConfig(num_classes=5, middle_depth=1)),
            shortened_xception,
            lambda name: timm_name_xception(name, 1),
        ),
    ],
    ids=["inception_v4", "inception_resnet_v2", "xception"],
)
def test_same_weights_give_timms_logits(build, shorten, translate):
    """float32 sums in the same order: equal but for rounding."""
    torch.manual_seed(0)
    network = build().eval()
    shake_norms(network)
    oracle = shorten().eval()
    oracle.load_state_dict({translate(key): value for key, value in network.state_dict().items()}, assign=True)
    images = torch.randn(2, 3, 80, 75, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = oracle(images)
        torch.testing.assert_close(
            network(images), expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item())
        )
