"""Squeeze-and-excitation networks against timm's copies of the authors' networks."""

import re

import pytest
import timm
import torch
from timm.models import senet as theirs
from torch import nn

from striate.networks.catalogue import build_network
from striate.networks.families.senet import SENetConfig, se_resnet, se_resnext_32x4d, senet154

TIMM_NAMES = {
    "se_resnet50": "legacy_seresnet50",
    "se_resnet101": "legacy_seresnet101",
    "se_resnet152": "legacy_seresnet152",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "se_resnext101_32x4d": "legacy_seresnext101_32x4d",
    "senet154": "legacy_senet154",
}
DEPTHS = (1, 2, 1, 1)
SHALLOW = {
    "se_resnet": (se_resnet, {"block": theirs.SEResNetBottleneck, "groups": 1}),
    "se_resnext": (se_resnext_32x4d, {"block": theirs.SEResNeXtBottleneck, "groups": 32}),
    "senet154": (
        senet154,
        {
            "block": theirs.SEBottleneck, "groups": 64, "inplanes": 128, "input_3x3": True,
            "downsample_kernel_size": 3, "downsample_padding": 1,
        },
    ),
}  # fmt: skip
"""Our builder, and what timm's class must be told."""


def timm_key(key: str) -> str:
    """Our name of a parameter -> timm's: the stem's layers have names, and the gates and the last layer others."""
    stem = re.match(r"stem\.(\d)\.(.*)", key)
    if stem:
        number = int(stem[1])
        return f"layer0.{('conv', 'bn')[number % 3]}{number // 3 + 1}.{stem[2]}"
    return re.sub(r"^fc\.", "last_linear.", key.replace(".se.", ".se_module."))


def shake_norms(network: nn.Module) -> None:
    """Give batch norms statistics and scales unlike their first ones, so that a mix-up would show."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, generator=generator)


@pytest.mark.parametrize("name", TIMM_NAMES)
def test_names_and_shapes_are_timms(name: str) -> None:
    with torch.device("meta"):
        oracle = timm.create_model(TIMM_NAMES[name]).state_dict()
    ours = build_network(name, device="meta").state_dict()
    assert {timm_key(key): value.shape for key, value in ours.items()} == {k: v.shape for k, v in oracle.items()}


@pytest.mark.parametrize("kind", SHALLOW)
def test_same_weights_give_the_same_logits(kind: str) -> None:
    """float32 sums in another order at most. With one block for most stages, every kind of block occurs."""
    build, arguments = SHALLOW[kind]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        oracle = theirs.SENet(layers=DEPTHS, reduction=16, num_classes=10, **arguments).eval()
    shake_norms(oracle)
    state = oracle.state_dict()
    with torch.device("meta"):
        network = build(SENetConfig(num_classes=10, depths=DEPTHS, dropout=0.2)).eval()
    network.load_state_dict({key: state[timm_key(key)] for key in network.state_dict()}, assign=True)
    images = torch.randn(2, 3, 40, 33, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = oracle(images)
        torch.testing.assert_close(
            network(images), expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item())
        )
