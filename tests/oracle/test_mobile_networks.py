"""Networks of ours that torchvision lacks, against its own with stems and strides changed, or against plain
functions.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from oracle.test_networks_torchvision import shake_norms
from striate.networks.catalogue import build_network
from striate.networks.families.densenet import CifarDenseNetConfig, densenet_cifar
from striate.networks.families.shufflenet import DEPTHS, ShuffleNetV1, ShuffleNetV1Config

State = dict[str, Tensor]


def noise(size: tuple[int, int] = (32, 32)) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def assert_equal_logits(network: nn.Module, oracle: nn.Module) -> None:
    """float32 sums in the same order: equal but for rounding."""
    with torch.inference_mode():
        expected = oracle.eval()(noise())
        close = 1e-5 * max(1, expected.abs().max().item())
        torch.testing.assert_close(network.eval()(noise()), expected, rtol=1e-5, atol=close)


def test_mobilenet_v2_cifar() -> None:
    """Table 2 with stride 1 in the stem and in the second row."""
    rows = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    oracle = torchvision.models.MobileNetV2(num_classes=10, inverted_residual_setting=rows)
    oracle.features[0][0].stride = (1, 1)
    shake_norms(oracle)
    network = build_network("mobilenet_v2_cifar")
    network.load_state_dict(oracle.state_dict(), strict=True)
    assert_equal_logits(network, oracle)


def test_shufflenet_v2_cifar() -> None:
    oracle = torchvision.models.shufflenet_v2_x1_0(num_classes=10)
    oracle.conv1[0].stride = (1, 1)
    oracle.maxpool = nn.Identity()
    shake_norms(oracle)
    network = build_network("shufflenet_v2_cifar")
    network.load_state_dict(oracle.state_dict(), strict=True)
    assert_equal_logits(network, oracle)


def test_densenet_bc_40_12_cifar() -> None:
    """Theirs has a larger stem, which is replaced, and calls the last norm the fifth however many blocks there are."""
    oracle = torchvision.models.DenseNet(12, (6, 6, 6), num_init_features=24, num_classes=10)
    oracle.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(oracle.features, name, nn.Identity())
    shake_norms(oracle)
    network = build_network("densenet_bc_40_12_cifar")
    network.load_state_dict({name.replace("norm5", "norm4"): value for name, value in oracle.state_dict().items()})
    assert_equal_logits(network, oracle)


class Functions(nn.Module):
    """A network as a function of its weights and the images."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state

    def norm(self, maps: Tensor, name: str) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(maps, *(self.state[f"{name}.{part}"] for part in names), training=False)

    def linear(self, maps: Tensor, name: str) -> Tensor:
        return F.linear(maps.mean(dim=(2, 3)), self.state[f"{name}.weight"], self.state[f"{name}.bias"])


class BasicDenseNet(Functions):
    """arXiv:1608.06993, sections 3 and 4.2, without bottlenecks and compression."""

    def forward(self, images: Tensor) -> Tensor:
        maps = F.conv2d(images, self.state["features.conv0.weight"], padding=1)
        for block in (1, 2, 3):
            layers = [maps]
            for layer in (1, 2):
                name = f"features.denseblock{block}.denselayer{layer}"
                before = self.norm(torch.cat(layers, dim=1), f"{name}.norm1").relu()
                layers.append(F.conv2d(before, self.state[f"{name}.conv1.weight"], padding=1))
            maps = torch.cat(layers, dim=1)
            if block < 3:
                name = f"features.transition{block}"
                maps = F.conv2d(self.norm(maps, f"{name}.norm").relu(), self.state[f"{name}.conv.weight"])
                maps = (
                    maps[:, :, ::2, ::2] + maps[:, :, 1::2, ::2] + maps[:, :, ::2, 1::2] + maps[:, :, 1::2, 1::2]
                ) / 4
        return self.linear(self.norm(maps, "features.norm4").relu(), "classifier")


def test_basic_densenet() -> None:
    network = densenet_cifar(CifarDenseNetConfig(depths=(2, 2, 2), growth_rate=5))
    shake_norms(network)
    assert_equal_logits(network, BasicDenseNet(network.state_dict()))


class ShuffleNet(Functions):
    """arXiv:1707.01083, figure 2 and Table 1, with four groups."""

    def convolve(self, maps: Tensor, name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self.state[f"{name}.0.weight"]
        return self.norm(F.conv2d(maps, weight, None, stride, weight.shape[2] // 2, groups=groups), f"{name}.1")

    def unit(self, maps: Tensor, name: str, *, stride: int, first_groups: int) -> Tensor:
        branch = self.convolve(maps, f"{name}.branch.0", groups=first_groups).relu()
        order = [group * branch.shape[1] // 4 + place for place in range(branch.shape[1] // 4) for group in range(4)]
        branch = branch[:, order]
        branch = self.convolve(branch, f"{name}.branch.2", stride=stride, groups=branch.shape[1])
        branch = self.convolve(branch, f"{name}.branch.3", groups=4)
        if stride == 1:
            return (maps + branch).relu()
        pooled = F.conv2d(maps.flatten(0, 1)[:, None], torch.full((1, 1, 3, 3), 1 / 9), stride=2, padding=1)
        return torch.cat([pooled.unflatten(0, maps.shape[:2])[:, :, 0], branch], dim=1).relu()

    def forward(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(self.convolve(images, "conv1", stride=2).relu(), 3, 2, padding=1)
        for stage, depth in zip((2, 3, 4), DEPTHS, strict=True):
            for place in range(depth):
                first_groups = 1 if stage == 2 and place == 0 else 4
                stride = 2 if place == 0 else 1
                maps = self.unit(maps, f"stage{stage}.{place}", stride=stride, first_groups=first_groups)
        return self.linear(maps, "fc")


def test_shufflenet() -> None:
    config = ShuffleNetV1Config(num_classes=10, groups=4, stem_channels=8, widths=(32, 64, 128))
    network = ShuffleNetV1(config)
    shake_norms(network)
    assert_equal_logits(network, ShuffleNet(network.state_dict()))
