"""Finding, listing and building networks."""

import dataclasses
import json

import pytest
import torch

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size, list_networks

NAMES = {
    "neocognitron", "neocognitron_digits", "mlp", "tdnn", "rbf", "lenet1", "lenet5_1998", "lenet5", "lenet5_caffe",
    "lenet_300_100",
    "digitnet", "alexnet", "alexnet_two_towers", "alexnet_small", "maxout_mnist", "maxout_cifar", "nin_cifar",
    "nin_imagenet",
    "zfnet", "zfnet_512", "overfeat_fast", "overfeat_accurate", "vgg11", "vgg11_lrn", "vgg11_bn", "vgg13",
    "vgg13_bn", "vgg16_c", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vgg16_bn_cifar", "strided_cnn_c_cifar",
    "convpool_cnn_c_cifar", "allcnn_a_cifar", "allcnn_b_cifar", "allcnn_c_cifar", "googlenet_lrn", "googlenet",
    "inception_v2", "highway_mnist", "highway19_cifar", "inception_v3", "resnet18", "resnet34", "resnet50",
    "resnet101", "resnet152", "resnet50_v1", "resnet101_v1", "resnet152_v1", "resnet20_cifar", "resnet32_cifar",
    "resnet44_cifar", "resnet56_cifar", "resnet110_cifar", "resnet1202_cifar", "resnet18_cifar",
    "resnet110_stochastic_depth_cifar", "preact_resnet110_cifar", "preact_resnet164_cifar",
    "preact_resnet1001_cifar", "preact_resnet200", "preact_resnet18_cifar", "inception_v4", "inception_resnet_v1",
    "inception_resnet_v2", "squeezenet1_0", "squeezenet1_0_simple_bypass", "squeezenet1_0_complex_bypass",
    "squeezenet1_1", "wrn_16_4_cifar", "wrn_16_8_cifar", "wrn_28_10_cifar", "wrn_40_4_cifar", "wide_resnet50_2",
    "wide_resnet101_2", "fractalnet20_cifar", "fractalnet40_cifar100", "densenet121", "densenet161", "densenet169",
    "densenet201", "densenet_40_12_cifar", "densenet_100_12_cifar", "densenet_bc_40_12_cifar",
    "densenet_bc_100_12_cifar", "densenet_bc_250_24_cifar", "densenet_bc_190_40_cifar", "xception",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "resnext29_8x64d_cifar", "resnext29_16x64d_cifar",
    "mobilenet_v1", "mobilenet_v1_x0_75", "mobilenet_v1_x0_5", "mobilenet_v1_x0_25", "shufflenet_v1_g1",
    "shufflenet_v1_g2", "shufflenet_v1_g3", "shufflenet_v1_g4", "shufflenet_v1_g8", "shufflenet_v1_g3_x0_5",
    "shufflenet_v1_g3_x1_5", "shufflenet_v1_g3_x2_0", "nasnet_a_mobile", "nasnet_a_large", "nasnet_a_cifar",
    "se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d", "senet154",
    "mobilenet_v2", "mobilenet_v2_cifar", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0", "shufflenet_v2_cifar", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v3_large", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2",
    "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    "airbench94_cifar", "airbench95_cifar",
}  # fmt: skip


def test_the_catalogue_holds_these_networks() -> None:
    """Names are public: runs and model files depend on them."""
    assert set(CATALOGUE) == NAMES


def test_rows_are_plain_and_complete() -> None:
    rows = list_networks()
    assert json.loads(json.dumps(rows)) == rows
    assert sorted(row["name"] for row in rows) == sorted(CATALOGUE)
    (row,) = (row for row in rows if row["name"] == "resnet50")
    assert row["family"] == "resnet"
    assert row["year"] == 2015
    assert row["input_size"] == [3, 224, 224]
    assert row["num_params"] == 25_557_032
    assert row["macs"] == 4_089_184_256
    assert row["published"]["top1_error"] == 0.2285
    assert row["weights"] == ["imagenet", "imagenet_v2"]


def test_rows_of_one_family() -> None:
    assert {"lenet5", "lenet_300_100"} <= {row["name"] for row in list_networks(family="lenet")}
    assert {row["family"] for row in list_networks(family="lenet")} == {"lenet"}
    with pytest.raises(InputError, match=r"no family is called 'lenets'; there are: .*lenet, .*resnet"):
        list_networks(family="lenets")


def test_counts_left_out_are_the_papers() -> None:
    assert build_network("squeezenet1_0", device="meta").config == CATALOGUE["squeezenet1_0"].config
    network = build_network("alexnet_small", num_classes=3, device="meta")
    assert network.config == dataclasses.replace(CATALOGUE["alexnet_small"].config, num_classes=3)


def test_without_a_seed_the_global_generator_decides_as_in_torch() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        first = build_network("lenet5").state_dict()
        second = build_network("lenet5").state_dict()
    seeded = build_network("lenet5", seed=9).state_dict()
    assert all(torch.equal(first[name], seeded[name]) for name in first)
    assert not torch.equal(first["fc2.weight"], second["fc2.weight"])


def test_device_of_the_caller_does_not_matter() -> None:
    with torch.device("meta"):
        network = build_network("lenet5", seed=1)
    assert {param.device.type for param in network.parameters()} == {"cpu"}
    assert {param.device.type for param in build_network("lenet5", device="meta").parameters()} == {"meta"}


def test_a_new_network_is_in_training_mode() -> None:
    assert all(module.training for module in build_network("squeezenet1_1").modules())


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("lenet5", (28, 28), "lenet5 takes images of 32x32 pixels only but got 28x28; resize them to 32x32"),
        ("alexnet", (63, 62), "alexnet needs images of at least 63x63 pixels but got 63x62; enlarge them or choose"),
    ],
)
def test_sizes_that_do_not_fit(name: str, size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_input_size(CATALOGUE[name], size)


def test_images_without_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match=r"lenet5 expects images \(N, 1, H, W\) but got \(1, 32, 32\)"):
        build_network("lenet5")(torch.zeros(1, 32, 32))


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_strange_counts_are_refused(count: object) -> None:
    with pytest.raises(InputError, match=f"num_classes must be a whole number of at least 1 but is {count}"):
        build_network("lenet5", num_classes=count)  # type: ignore[arg-type]


def test_networks_are_chosen_by_year_size_and_weights():
    for row in list_networks(since=2014, until=2016, max_params=2_000_000, max_macs=10**9):
        assert 2014 <= row["year"] <= 2016
        assert row["num_params"] <= 2_000_000
        assert row["macs"] <= 10**9
    names = {row["name"] for row in list_networks(since=2014, until=2016, max_params=2_000_000)}
    assert {"squeezenet1_1", "resnet20_cifar"} <= names
    assert not names & {"lenet5", "resnet18", "airbench94_cifar"}
    assert all(row["weights"] for row in list_networks(only_with_weights=True))


@pytest.mark.parametrize(
    ("sort", "key"), [("params", "num_params"), ("macs", "macs"), ("name", "name"), (None, "year")]
)
def test_networks_are_sorted(sort, key):
    values = [row[key] for row in list_networks(sort=sort)]
    assert values == sorted(values)
    assert len(values) == len(CATALOGUE)


def test_networks_without_a_published_error_come_last():
    errors = [(row["published"] or {}).get("top1_error") for row in list_networks(sort="error")]
    known = [error for error in errors if error is not None]
    assert errors == sorted(known) + [None] * (len(errors) - len(known))
    with pytest.raises(InputError, match="sorted by year, name, params, macs, error but not by 'size'"):
        list_networks(sort="size")
