"""Families whose operators differ, as ONNX: the graph can be written, and ONNX Runtime answers as the network does."""

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export_cases import catalogue_model, noise, small_model
from striate.export.about import describe_export
from striate.export.onnx_file import onnx_bytes
from striate.export.program import trace
from striate.layers.channel_shuffle import ChannelShuffle
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.tasks.model import Model

NETWORKS = {
    "lenet5_1998": (32, 32),  # sums with a trained factor, a table of which maps see which, distances from codes
    "neocognitron": (16, 16),
    "tdnn": (16, 15),
    "maxout_mnist": (28, 28),
    "squeezenet1_1": (33, 39),  # pools that round up
    "alexnet": (63, 70),  # local response normalisation; pools to 6 x 6 whatever comes
}


class Spread(nn.Module):
    """Logits moved and stretched so that those of `images` differ as a trained network's do; else all would look
    alike.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.network = network
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5
        with torch.no_grad():
            for _ in range(10):
                network(images)  # batch normalisation learns its statistics
            logits = network.eval()(images)
        assert (logits.std(dim=0) > 1e-5 * logits.abs().amax()).all(), "nothing but rounding would be compared"
        self.register_buffer("mean", logits.mean(dim=0))
        self.register_buffer("deviation", logits.std(dim=0))

    def forward(self, images: Tensor) -> Tensor:
        return (self.network(images) - self.mean) / self.deviation


def shuffled() -> Model:
    """What makes the small mobile networks, whose own depth would take four seconds each: groups, shuffle, hard
    swish.
    """
    layers = (
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        ChannelShuffle(2),
        nn.BatchNorm2d(4),
        nn.Hardswish(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        SqueezeExcitation(4, 2),
        nn.Hardsigmoid(),
    )
    return small_model(nn.Sequential(*layers))


@pytest.mark.parametrize("name", [*NETWORKS, "shuffled"])
def test_a_family_as_onnx(name: str) -> None:
    fresh = shuffled() if name == "shuffled" else catalogue_model(name, NETWORKS[name])
    images = noise(5, *fresh.preprocessing.crop_size, fresh.preprocessing.channels)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    model = dataclasses.replace(fresh, network=Spread(fresh.network, fresh.preprocessing.normalize(pixels)))
    session = onnxruntime.InferenceSession(
        onnx_bytes(trace(model, resize=False), name, describe_export(model, resize=False)),
        providers=["CPUExecutionProvider"],
    )
    wanted = model.probabilities(pixels).numpy()
    assert wanted.std(axis=0).min() > 0.05
    for count in (1, 2, 5):
        (answered,) = session.run(None, {"images": images[:count]})
        np.testing.assert_allclose(answered, wanted[:count], atol=2e-3)  # the stretch enlarges what rounding does
