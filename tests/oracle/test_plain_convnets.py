"""VGG, ZFNet, OverFeat and SqueezeNet's bypasses, held against torchvision's parts or plain functions.

float32 sums in the same order: equal but for rounding.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from striate.networks.catalogue import build_network
from striate.networks.families.overfeat import OverFeat, OverFeatConfig
from striate.networks.families.vgg import VGG, A, C, VGGConfig
from striate.networks.families.zfnet import ZFNet, ZFNetConfig


def shaken(network: nn.Module) -> nn.Module:
    """Ready to be compared, with weights large enough that every layer matters and none saturates."""
    generator = torch.Generator().manual_seed(3)
    for param in network.parameters():
        fan_in = param[0].numel() if param.ndim > 1 else 10
        nn.init.normal_(param, std=(2 / fan_in) ** 0.5, generator=generator)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2, generator=generator)
    return network.eval()


def random_images(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


def response_norm(maps: Tensor) -> Tensor:
    """AlexNet's formula (2012, section 3.3), map by map."""
    normalised = []
    for i in range(maps.shape[1]):
        squares = maps[:, max(0, i - 2) : i + 3].square().sum(dim=1)
        normalised.append(maps[:, i] / (2 + 1e-4 * squares) ** 0.75)
    return torch.stack(normalised, dim=1)


def dense(features: Tensor, params: list[tuple[Tensor, Tensor]]) -> Tensor:
    for weight, bias in params[:-1]:
        features = F.relu(F.linear(features, weight, bias))
    return F.linear(features, *params[-1])


def weights_and_biases(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    params = list(network.parameters())
    return list(zip(params[::2], params[1::2], strict=True))


@torch.no_grad()
def test_zfnet_is_its_figure() -> None:
    network = shaken(ZFNet(ZFNetConfig(num_classes=4, widths=(6, 7, 8, 9, 5), hidden_width=11)))
    images = random_images(2, 3, 224, 224) * 30  # so that normalisation matters
    params = weights_and_biases(network)
    maps = F.relu(F.conv2d(F.pad(images, (1, 1, 1, 1)), *params[0], stride=2))
    maps = response_norm(F.max_pool2d(F.pad(maps, (0, 1, 0, 1)), 3, 2))  # zeros beyond the edge: maps are rectified
    maps = F.relu(F.conv2d(maps, *params[1], stride=2))
    maps = response_norm(F.max_pool2d(F.pad(maps, (0, 1, 0, 1)), 3, 2))
    for weight, bias in params[2:5]:
        maps = F.relu(F.conv2d(maps, weight, bias, padding=1))
    features = F.max_pool2d(maps, 3, 2).reshape(2, -1)
    torch.testing.assert_close(network(images), dense(features, params[5:]), rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_overfeat_is_dense_at_its_own_size() -> None:
    """Its last convolutions are linear layers there."""
    config = OverFeatConfig(
        num_classes=4, convolutions=((5, 7, 2, 0, 3), (6, 3, 1, 1, 2)), classifier_size=3, hidden_widths=(8, 9)
    )
    network = shaken(OverFeat(config))
    assert config.window == 41
    images = random_images(2, 3, 41, 41)
    params = weights_and_biases(network)
    maps = F.max_pool2d(F.relu(F.conv2d(images, *params[0], stride=2)), 3, 3)
    maps = F.max_pool2d(F.relu(F.conv2d(maps, *params[1], padding=1)), 2, 2)
    features = maps.reshape(2, -1)
    flat = [(weight.reshape(len(weight), -1), bias) for weight, bias in params[2:]]
    torch.testing.assert_close(network(images), dense(features, flat), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_vgg_with_response_norm_and_with_1x1_filters() -> None:
    widths = (6, 5, 4, 4, 3)
    images = random_images(2, 3, 40, 33) * 30
    for filters, norm in ((A, "response"), (C, "none")):
        network = shaken(VGG(VGGConfig(num_classes=4, filters=filters, widths=widths, norm=norm, hidden_width=11)))
        params = weights_and_biases(network)
        maps, place = images, 0
        for stage in filters:
            for size in stage:
                maps = F.relu(F.conv2d(maps, *params[place], padding=(size - 1) // 2))
                if norm == "response" and place == 0:
                    maps = response_norm(maps)
                place += 1
            maps = F.max_pool2d(maps, 2)
        features = maps.expand(2, 3, 7, 7).reshape(2, -1)  # 1x1 here: its average over any 7x7 places is itself
        torch.testing.assert_close(network(images), dense(features, params[place:]), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_small_vgg_is_torchvisions_features_and_one_linear_layer() -> None:
    plan = torchvision.models.vgg.cfgs["D"]
    features = torchvision.models.vgg.make_layers(plan, batch_norm=True)
    oracle = nn.ModuleDict({"features": features, "classifier": nn.Linear(512, 10)})
    network = shaken(build_network("vgg16_bn_cifar", seed=0))
    oracle.load_state_dict(network.state_dict(), strict=True)
    images = random_images(2, 3, 32, 32)
    expected = oracle["classifier"](oracle["features"].eval()(images).flatten(1))
    scale = expected.abs().max().item()
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5 * scale)


@torch.no_grad()
def test_bypasses_add_to_torchvisions_fire_modules() -> None:
    """`features.N.fire.` here is `features.N.` there; what torchvision lacks are the 1x1 convolutions beside."""
    images = random_images(2, 3, 40, 33)
    for name, widened in (("squeezenet1_0_simple_bypass", ()), ("squeezenet1_0_complex_bypass", (3, 5, 8, 10))):
        network = shaken(build_network(name, num_classes=4, seed=0))
        state = {key.replace(".fire.", "."): value for key, value in network.state_dict().items()}
        beside = {key: state.pop(key) for key in list(state) if ".bypass." in key}
        oracle = torchvision.models.squeezenet1_0(num_classes=4).eval()
        oracle.load_state_dict(state, strict=True)
        maps = images
        for place, layer in enumerate(oracle.features):
            answer = layer(maps)
            if place in (4, 7, 9, 12):
                answer = answer + maps
            elif place in widened:
                answer = answer + F.conv2d(
                    maps, *(beside[f"features.{place}.bypass.{of}"] for of in ("weight", "bias"))
                )
            maps = answer
        # features and not logits, which the last ReLU may make zero all over
        scale = maps.abs().max().item()
        torch.testing.assert_close(network.get_submodule("features")(images), maps, rtol=1e-5, atol=1e-5 * scale)
        torch.testing.assert_close(network(images), oracle.classifier(maps).flatten(1), rtol=1e-5, atol=1e-5 * scale)
