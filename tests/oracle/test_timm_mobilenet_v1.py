"""MobileNet against timm's with equal weights."""

import timm
import torch

from oracle.test_networks_torchvision import shake_norms
from striate.networks.catalogue import build_network
from striate.networks.families.mobilenet_v1 import BLOCKS

STAGE_LENGTHS = (1, 2, 2, 6, 2)


def timm_name(name: str) -> str:
    """timm's name for one of ours: `features.3.1.0.weight` is block 3's pointwise convolution,
    `blocks.1.1.conv_pw.weight`.

    Their blocks come in stages; within a block ours are numbered convolution 0 and norm 1 of depthwise 0 and pointwise
    1.
    """
    parts = name.split(".")
    if parts[0] == "classifier":
        return name
    if parts[1] == "0":
        return ".".join([{"0": "conv_stem", "1": "bn1"}[parts[2]], parts[3]])
    stage, place = 0, int(parts[1]) - 1
    while place >= STAGE_LENGTHS[stage]:
        place -= STAGE_LENGTHS[stage]
        stage += 1
    layer = {"00": "conv_dw", "01": "bn1", "10": "conv_pw", "11": "bn2"}[parts[2] + parts[3]]
    return f"blocks.{stage}.{place}.{layer}.{parts[4]}"


def test_same_weights_give_the_same_logits() -> None:
    """float32 sums in the same order: equal but for rounding. Theirs has ReLU6 unless told; the paper has ReLU."""
    assert sum(STAGE_LENGTHS) == len(BLOCKS)
    oracle = timm.create_model("mobilenetv1_100", num_classes=10, act_layer="relu").eval()
    shake_norms(oracle)
    network = build_network("mobilenet_v1", num_classes=10, device="meta").eval()
    others = oracle.state_dict()
    state = {name: others.pop(timm_name(name)) for name in network.state_dict()}
    assert not others
    network.load_state_dict(state, assign=True)
    images = torch.randn(2, 3, 40, 33, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = oracle(images)
        torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
