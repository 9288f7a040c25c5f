"""Dense blocks on paper, counts by hand, configurations and the old names of published files."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.densenet import (
    BasicLayer,
    BottleneckLayer,
    CifarDenseNetConfig,
    DenseNetConfig,
    dense_block,
    densenet,
    rename_old,
    transition,
)
from striate.weights import adapting
from striate.weights.loading import load_weights

TINY = dataclasses.replace(
    CATALOGUE["densenet121"], config=DenseNetConfig(num_classes=3, depths=(1, 1, 2, 1), growth_rate=2, stem_channels=4)
)


def test_a_layer_appends_its_maps_to_those_it_was_given() -> None:
    layer = BasicLayer(2, growth_rate=1).eval()
    with torch.no_grad():
        layer.conv1.weight.zero_()
        layer.conv1.weight[0, :, 1, 1] = torch.tensor([1.0, 10.0])  # the pixel itself, of the first map and the second
    maps = torch.tensor([-3.0, 2.0]).reshape(1, 2, 1, 1)
    expected = [-3.0, 2.0, 20.0]  # the first map is below 0, so that the ReLU before the convolution stops it
    torch.testing.assert_close(layer(maps).flatten(), torch.tensor(expected), rtol=1e-4, atol=0)


def test_every_layer_of_a_block_sees_all_maps_before_it() -> None:
    block = dense_block(BottleneckLayer, 6, growth_rate=3, depth=4)
    assert list(dict(block.named_children())) == ["denselayer1", "denselayer2", "denselayer3", "denselayer4"]
    assert [layer.conv1.in_channels for layer in block] == [6, 9, 12, 15]
    assert {(layer.conv1.out_channels, layer.conv2.out_channels) for layer in block} == {(12, 3)}
    maps = torch.randn(2, 6, 3, 4)
    found = block(maps)
    assert found.shape == (2, 18, 3, 4)
    assert torch.equal(found[:, :6], maps)


def test_a_transition_averages_four_pixels() -> None:
    layers = transition(1, 1).eval()
    nn.init.ones_(layers.conv.weight)
    maps = torch.tensor([[1.0, 2.0, 9.0], [3.0, -6.0, 9.0]]).reshape(1, 1, 2, 3)
    torch.testing.assert_close(layers(maps), torch.tensor(1.5).reshape(1, 1, 1, 1), rtol=1e-4, atol=0)


def count_by_hand(config: CifarDenseNetConfig) -> int:
    """Norms have two numbers a map, 3x3 filters nine a map, 1x1 one; layers have no biases but the last."""
    k = config.growth_rate
    maps = 2 * k if config.variant == "bc" else 16
    count = 27 * maps
    for number, depth in enumerate(config.depths, start=1):
        for _ in range(depth):
            bottleneck = 4 * k * maps + 2 * 4 * k + 9 * 4 * k * k
            count += 2 * maps + (bottleneck if config.variant == "bc" else 9 * maps * k)
            maps += k
        if number < 3:
            kept = maps // 2 if config.variant == "bc" else maps
            count += 2 * maps + maps * kept
            maps = kept
    return count + 2 * maps + (maps + 1) * 10


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name.startswith("densenet_")])
def test_params_by_hand_and_depth_by_name(name: str) -> None:
    config = CATALOGUE[name].config
    assert count_by_hand(config) == CATALOGUE[name].num_params
    *_, depth, growth_rate, _ = name.split("_")
    assert 4 + sum(config.depths) * (2 if config.variant == "bc" else 1) == int(depth)
    assert config.growth_rate == int(growth_rate)
    assert (config.variant == "bc") == ("_bc_" in name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: DenseNetConfig(depths=(6, 12, 24)),
            r"depths must be four numbers of at least 1 but are \(6, 12, 24\)",
        ),
        (lambda: DenseNetConfig(depths=(6, 12, 0, 1)), "depths must be four numbers of at least 1"),
        (lambda: DenseNetConfig(growth_rate=0), "growth_rate and stem_channels must be at least 1 but are 0 and 64"),
        (lambda: DenseNetConfig(stem_channels=0), "growth_rate and stem_channels must be at least 1 but are 32 and 0"),
        (lambda: CifarDenseNetConfig(depths=(1, 2)), r"depths must be three numbers of at least 1 but are \(1, 2\)"),
        (lambda: CifarDenseNetConfig(growth_rate=0), "growth_rate must be at least 1 but is 0"),
        (lambda: CifarDenseNetConfig(variant="c"), "variant must be 'basic' or 'bc' but is 'c'"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_weights_are_drawn_by_fan_in() -> None:
    network = build_network("densenet_bc_40_12_cifar", seed=0)
    weight = network.get_parameter("features.denseblock3.denselayer6.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / weight.shape[1]) ** 0.5, rel=0.05)
    assert not network.classifier.bias.any()


def with_old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision's published files of 2017 have them, which lack batch norms' counters too."""
    old = {}
    for name, value in state.items():
        if "denselayer" in name:
            before, layer, kind = name.rsplit(".", 2)
            name = f"{before}.{layer[:-1]}.{layer[-1]}.{kind}"
        if not name.endswith("num_batches_tracked"):
            old[name] = value
    return old


def test_old_names() -> None:
    assert rename_old("features.denseblock3.denselayer12.norm.2.running_var") == (
        "features.denseblock3.denselayer12.norm2.running_var"
    )
    for name in (
        "features.denseblock1.denselayer1.conv2.weight",
        "features.transition1.norm.weight",
        "features.norm5.bias",
    ):
        assert rename_old(name) == name


def test_files_with_old_names_load(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        network = densenet(TINY.config)
    state = network.state_dict()
    old = with_old_names(state)
    assert "features.denseblock3.denselayer2.norm.1.weight" in old
    assert "features.norm0.weight" in old
    torch.save(old, tmp_path / "old.pth")
    loaded = load_weights(TINY, tmp_path / "old.pth").state
    fitted = adapting.fit_weights(TINY, network, loaded)
    assert fitted.keys() == state.keys()
    assert all(torch.equal(fitted[name], state[name]) for name in state)


def test_old_and_new_names_at_once_are_refused(tmp_path: Path) -> None:
    layer = "features.denseblock1.denselayer1"
    torch.save({f"{layer}.norm.1.bias": torch.zeros(4), f"{layer}.norm1.bias": torch.zeros(4)}, tmp_path / "both.pth")
    with pytest.raises(ModelFileError, match=rf"hold {layer}.norm1.bias of densenet121 twice, under an old name"):
        load_weights(TINY, tmp_path / "both.pth")


def test_files_with_old_names_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    state = build_network("densenet121", num_classes=4, device="meta").state_dict()
    monkeypatch.setattr(adapting, "CATALOGUE", {name: CATALOGUE[name] for name in ("densenet121", "resnet18")})
    assert adapting.find_fitting_networks(with_old_names(state)) == ["densenet121"]
