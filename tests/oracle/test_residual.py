"""Residual networks that no library has, against torchvision's and timm's with a part changed, or computed again by
hand.
"""

import pytest
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from striate.layers.preactivation import PreActUnit
from striate.networks.families.preact_resnet import (
    CifarPreActResNetConfig,
    PreActResNetConfig,
    cifar_preact_resnet,
    preact_resnet,
)
from striate.networks.families.resnet import CifarResNet, ResNetConfig, resnet
from striate.networks.families.resnext import ResNeXtConfig, cifar_resnext
from striate.networks.families.stochastic_depth import StochasticDepthConfig, stochastic_depth_resnet
from striate.networks.families.wide_resnet import CifarWideResNet, CifarWideResNetConfig

DEPTHS = (1, 2, 1, 1)
ODD_SIZE = (13, 10)


def seeded(seed: int = 0) -> None:
    torch.default_generator.manual_seed(seed)


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng(devices=[]):
        yield


def shake_norms(network: nn.Module) -> None:
    """Give batch norms statistics and scales unlike their first ones, so that a mix-up would show."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, generator=generator)


def random_images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_same(logits: Tensor, expected: Tensor) -> None:
    """float32 sums, in another order at most."""
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item()))


def test_v1_is_torchvisions_with_the_stride_moved() -> None:
    seeded()
    oracle = TorchvisionResNet(Bottleneck, list(DEPTHS), num_classes=10)
    for module in oracle.modules():
        if isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    shake_norms(oracle)
    network = resnet(ResNetConfig(num_classes=10, block="bottleneck_v1", depths=DEPTHS))
    network.load_state_dict(oracle.state_dict())
    images = random_images(40, 33)
    with torch.inference_mode():
        assert_same(network.eval()(images), oracle.eval()(images))


@pytest.mark.parametrize("block", ["bottleneck", "bottleneck_v1"])
def test_bottlenecks_are_drawn_as_torchvisions(block: str) -> None:
    """The same numbers in the same order from the same seed."""
    seeded()
    oracle = TorchvisionResNet(Bottleneck, list(DEPTHS), num_classes=10).state_dict()
    seeded()
    network = resnet(ResNetConfig(num_classes=10, block=block, depths=DEPTHS)).state_dict()  # type: ignore[arg-type]
    assert list(network) == list(oracle)
    assert all(torch.equal(network[key], oracle[key]) for key in oracle)


def test_cifar_resnext_is_torchvisions_with_another_stem_and_three_stages() -> None:
    seeded()
    oracle = TorchvisionResNet(Bottleneck, [1, 2, 1, 1], num_classes=10, groups=4, width_per_group=6)
    oracle.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    oracle.maxpool = oracle.layer4 = nn.Identity()
    oracle.fc = nn.Linear(1024, 10)
    shake_norms(oracle)
    network = cifar_resnext(ResNeXtConfig(num_classes=10, depths=(1, 2, 1), cardinality=4, group_width=6))
    network.load_state_dict(oracle.state_dict())
    images = random_images(*ODD_SIZE)
    with torch.inference_mode():
        assert_same(network.eval()(images), oracle.eval()(images))


def timm_preact_key(key: str) -> str:
    """Our name of a parameter -> that of timm's ResNetV2, whose first norm comes after the pooling."""
    parts = key.split(".")
    if parts[0].startswith("layer"):
        inner = ".".join(parts[2:])
        for ours, other in (
            ("activation.bn.", "norm1."), ("residual.conv", "conv"), ("residual.bn", "norm"),
            ("shortcut.", "downsample.conv."),
        ):  # fmt: skip
            inner = inner.replace(ours, other)
        return f"stages.{int(parts[0][-1]) - 1}.blocks.{parts[1]}.{inner}"
    renamed = {"conv1": "stem.conv", "bn1": "stages.0.blocks.0.norm1", "activation": "norm", "fc": "head.fc"}
    return f"{renamed[parts[0]]}.{parts[-1]}"


def test_preact_resnet_is_timms_with_the_stride_moved() -> None:
    """A norm with a positive scale and a ReLU never change order, so it may come before the pooling or after."""
    seeded()
    oracle = ResNetV2(
        list(DEPTHS), num_classes=10, stem_type="", conv_layer=create_conv2d, norm_layer=BatchNormAct2d, preact=True
    )
    for stage in oracle.stages:
        for block in stage.blocks:
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
    shake_norms(oracle)
    network = preact_resnet(PreActResNetConfig(num_classes=10, depths=DEPTHS))
    state = oracle.state_dict()
    state["head.fc.weight"] = state["head.fc.weight"].flatten(1)
    assert {timm_preact_key(key) for key in network.state_dict()} == set(state)
    network.load_state_dict({key: state[timm_preact_key(key)] for key in network.state_dict()})
    images = random_images(40, 33)
    with torch.inference_mode():
        assert_same(network.eval()(images), oracle.eval()(images))


def normalised(maps: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm from stored statistics, written out."""
    mean, variance, scale, shift = (
        value[:, None, None] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (maps - mean) / torch.sqrt(variance + norm.eps) * scale + shift


def every_second(maps: Tensor, out_channels: int) -> Tensor:
    """Option A: every second pixel, and zeros before and after until there are enough maps."""
    before = (out_channels - maps.shape[1]) // 2
    padded = torch.zeros(len(maps), out_channels, *maps[:, :, ::2, ::2].shape[2:])
    padded[:, before : before + maps.shape[1]] = maps[:, :, ::2, ::2]
    return padded


def unit_by_hand(unit: PreActUnit, maps: Tensor, *, stride: int, is_first: bool) -> Tensor:
    """Equations 1 to 3 with f the identity, from the unit's parameters."""
    layers = dict(unit.residual.named_children())
    activated = maps if is_first else normalised(maps, unit.activation.get_submodule("bn")).clamp(min=0)
    if "conv3" in layers:
        residual = F.conv2d(activated, layers["conv1"].weight, stride=stride)
        residual = F.conv2d(normalised(residual, layers["bn2"]).clamp(min=0), layers["conv2"].weight, padding=1)
        residual = F.conv2d(normalised(residual, layers["bn3"]).clamp(min=0), layers["conv3"].weight)
    else:
        residual = F.conv2d(activated, layers["conv1"].weight, stride=stride, padding=1)
        residual = F.conv2d(normalised(residual, layers["bn2"]).clamp(min=0), layers["conv2"].weight, padding=1)
    if isinstance(unit.shortcut, nn.Conv2d):
        return F.conv2d(activated, unit.shortcut.weight, stride=stride) + residual
    return (maps if stride == 1 else every_second(maps, residual.shape[1])) + residual


def preact_by_hand(network: nn.Module, images: Tensor, *, activates_stem: bool) -> Tensor:
    """Stem, units, last activation, averages and the last layer, from the network's parameters."""
    maps = F.conv2d(images, network.conv1.weight, padding=1)
    if activates_stem:
        maps = normalised(maps, network.bn1).clamp(min=0)
    for name, stage in network.named_children():
        if name.startswith("layer"):
            for number, unit in enumerate(stage):
                stride = 2 if number == 0 and name != "layer1" else 1
                is_first = activates_stem and number == 0 and name == "layer1"
                maps = unit_by_hand(unit, maps, stride=stride, is_first=is_first)
    features = normalised(maps, network.activation.bn).clamp(min=0).mean(dim=(2, 3))
    return features @ network.fc.weight.T + network.fc.bias


@pytest.mark.parametrize("unit", ["padded", "basic", "bottleneck"])
def test_cifar_preact_resnet_by_hand(unit: str) -> None:
    seeded()
    network = cifar_preact_resnet(CifarPreActResNetConfig(unit=unit, depths=(2, 1, 2), widths=(8, 12, 20))).eval()  # type: ignore[arg-type]
    shake_norms(network)
    images = random_images(*ODD_SIZE)
    with torch.inference_mode():
        assert_same(network(images), preact_by_hand(network, images, activates_stem=True))


@pytest.mark.parametrize("widen", [1, 2])
def test_cifar_wide_resnet_by_hand(widen: int) -> None:
    """With `widen` 1 the first unit has an identity, which takes the maps before the activation."""
    seeded()
    network = CifarWideResNet(CifarWideResNetConfig(depth=16, widen=widen, dropout=0.3)).eval()
    shake_norms(network)
    images = random_images(*ODD_SIZE)
    with torch.inference_mode():
        assert_same(network(images), preact_by_hand(network, images, activates_stem=False))


def averaged(maps: Tensor) -> Tensor:
    """Means of 2x2 pixels, of those that there are at an odd border."""
    height, width = maps.shape[2:]
    rows = [maps[:, :, i : i + 2].mean(dim=2) for i in range(0, height, 2)]
    return torch.stack(
        [torch.stack([row[:, :, j : j + 2].mean(dim=2) for j in range(0, width, 2)], dim=2) for row in rows], dim=2
    )


def stochastic_depth_by_hand(network: CifarResNet, images: Tensor) -> Tensor:
    """In evaluation: a ResNet whose shortcuts average where sizes change."""
    maps = normalised(F.conv2d(images, network.conv1.weight, padding=1), network.bn1).clamp(min=0)
    for number in (1, 2, 3):
        for index, block in enumerate(network.get_submodule(f"layer{number}")):
            halves = index == 0 and number > 1
            residual = F.conv2d(maps, block.conv1.weight, stride=2 if halves else 1, padding=1)
            residual = F.conv2d(normalised(residual, block.bn1).clamp(min=0), block.conv2.weight, padding=1)
            shortcut = maps
            if halves:
                small = averaged(maps)
                zeros = torch.zeros(len(maps), small.shape[1] // 2, *small.shape[2:])
                shortcut = torch.cat([zeros, small, zeros], dim=1)
            maps = (normalised(residual, block.bn2) + shortcut).clamp(min=0)
    return maps.mean(dim=(2, 3)) @ network.fc.weight.T + network.fc.bias


def test_stochastic_depth_resnet_by_hand() -> None:
    seeded()
    network = stochastic_depth_resnet(StochasticDepthConfig(depths=(2, 1, 2))).eval()
    shake_norms(network)
    images = random_images(*ODD_SIZE)
    with torch.inference_mode():
        assert_same(network(images), stochastic_depth_by_hand(network, images))
