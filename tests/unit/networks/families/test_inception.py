"""Inception networks: configurations, auxiliary heads, residual scaling."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.branches import Branches
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.googlenet import TABLE_1, AverageTo4x4, GoogLeNetConfig
from striate.networks.families.inception_resnet import InceptionResNetConfig, ScaledResidual, inception_resnet_v2
from striate.networks.families.inception_v3 import AverageFor5x5, InceptionV3Config
from striate.networks.families.inception_v4 import InceptionV4Config
from striate.weights.adapting import fit_weights


def test_rows_of_table_1_have_the_maps_that_it_prints() -> None:
    assert [row.out_channels for row in TABLE_1.values()] == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_googlenets_heads_average_windows_of_five_at_every_third_place() -> None:
    maps = torch.randn(1, 2, 14, 15, generator=torch.Generator().manual_seed(0))
    averages = AverageTo4x4()(maps)
    assert averages.shape == (1, 2, 4, 4)
    torch.testing.assert_close(averages[0, 1, 1, 3], maps[0, 1, 3:8, 9:14].mean())


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (13, 14), (17, 14), (30, 40)])
def test_googlenets_heads_take_maps_of_any_size(size: tuple[int, int]) -> None:
    averages = AverageTo4x4()(torch.ones(1, 2, *size))
    assert torch.equal(averages, torch.ones(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("size", "expected"), [((17, 17), (5, 5)), ((17, 20), (5, 6)), ((3, 3), (5, 5)), ((8, 30), (5, 5))]
)
def test_v3s_head_averages_to_five_places_or_more(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert AverageFor5x5()(torch.ones(1, 2, *size)).shape == (1, 2, *expected)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_lrn", "inception_v3"])
def test_each_activation_runs_once_in_training_too(name: str) -> None:
    network = build_network(name, num_classes=2, device="meta")
    calls: dict[str, int] = {}
    for key, module in network.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda *_, key=key: calls.update({key: calls.get(key, 0) + 1}))
    size = max(64, *CATALOGUE[name].min_size)
    network(torch.empty(2, 3, size, size, device="meta"))
    relus = [key for key, module in network.named_modules() if isinstance(module, nn.ReLU)]
    assert calls == dict.fromkeys(relus, 1)


def test_inception_v3_trains_at_its_smallest_size() -> None:
    """Where torchvision's auxiliary head fails, having no 5x5 places."""
    network = build_network("inception_v3", num_classes=2, device="meta")
    answer = network(torch.empty(2, 3, *CATALOGUE["inception_v3"].min_size, device="meta"))
    assert isinstance(answer, WithAuxiliary)
    assert answer.auxiliary[0].shape == (2, 2)


def test_weights_for_other_classes_replace_auxiliary_heads_too() -> None:
    entry = CATALOGUE["googlenet"]
    state = {
        name: torch.full(value.shape, 7.0) if value.is_floating_point() else torch.tensor(3)
        for name, value in build_network("googlenet", num_classes=5, device="meta").state_dict().items()
    }
    network = build_network("googlenet", num_classes=2, in_channels=1, seed=0)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    told: list[str] = []
    network.load_state_dict(fit_weights(entry, network, state, log=told.append), strict=True)
    assert told == [
        "googlenet: the 3 input channels of the first layer, conv1.conv, are summed into 1",
        "googlenet: the last layer, fc, with 5 outputs is replaced by a new one with 2",
        "googlenet: an auxiliary head, aux1.fc2, with 5 outputs is replaced by a new one with 2",
        "googlenet: an auxiliary head, aux2.fc2, with 5 outputs is replaced by a new one with 2",
    ]
    new = {f"{head}.{kind}" for head in ("fc", "aux1.fc2", "aux2.fc2") for kind in ("weight", "bias")}
    for name, value in network.state_dict().items():
        if name in new:
            assert torch.equal(value, own[name])
        elif value.is_floating_point():
            assert value.unique().tolist() == [21.0 if name == "conv1.conv.weight" else 7.0], name


def test_same_classes_keep_every_head() -> None:
    entry = CATALOGUE["inception_v3"]
    network = build_network("inception_v3", num_classes=3, device="meta")
    told: list[str] = []
    fit_weights(
        entry, network, build_network("inception_v3", num_classes=3, device="meta").state_dict(), log=told.append
    )
    assert told == []


def test_residual_is_scaled_added_and_rectified() -> None:
    """Two maps, one of them copied by the branch and doubled by the projection: 3 + 0.5 * 2 * 3, and -4 rectified."""
    block = ScaledResidual(2, Branches(nn.Identity()), 2, 0.5, is_rectified=True)
    with torch.no_grad():
        block.project.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.0]]).reshape(2, 2, 1, 1))
        block.project.bias.zero_()
    assert block(torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)).flatten().tolist() == [6.0, 0.0]
    block.relu = None
    assert block(torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)).flatten().tolist() == [6.0, -4.0]


def test_last_block_of_v2_is_neither_scaled_nor_rectified() -> None:
    with torch.device("meta"):
        network = inception_resnet_v2(InceptionResNetConfig(depths=(1, 2, 3)))
    blocks = [module for module in network.modules() if isinstance(module, ScaledResidual)]
    assert [block.scale for block in blocks] == [0.17, 0.10, 0.10, 0.20, 0.20, 1.0]
    assert [block.relu is None for block in blocks] == [False] * 5 + [True]
    assert "scale=0.17" in repr(blocks[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GoogLeNetConfig(dropout=1.0), "^dropout must be at least 0 and below 1 but is 1.0"),
        (
            lambda: GoogLeNetConfig(auxiliary_dropout=-0.1),
            "auxiliary_dropout must be at least 0 and below 1 but is -0.1",
        ),
        (lambda: GoogLeNetConfig(auxiliary_weight=-1), "auxiliary_weight must be at least 0 but is -1"),
        (lambda: InceptionV3Config(auxiliary_weight=float("nan")), "auxiliary_weight must be at least 0 but is nan"),
        (lambda: InceptionV4Config(depths=(1, 2)), r"depths must be 3 numbers of at least 1 but are \(1, 2\)"),
        (lambda: InceptionResNetConfig(depths=(1, 0, 2)), r"depths must be 3 numbers .* but are \(1, 0, 2\)"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
