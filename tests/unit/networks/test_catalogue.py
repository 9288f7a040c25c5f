"""Finding, listing and building networks."""

import dataclasses
import json

import pytest
import torch

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size, list_networks

NAMES = {
    "lenet5", "lenet_300_100", "alexnet", "alexnet_two_towers", "alexnet_small", "squeezenet1_0", "squeezenet1_1",
    "resnet18", "resnet34", "resnet50", "resnet20_cifar", "resnet18_cifar", "airbench94_cifar",
    "googlenet_lrn", "googlenet", "inception_v2", "inception_v3", "inception_v4", "inception_resnet_v1",
    "inception_resnet_v2", "xception",
}  # fmt: skip


def test_the_catalogue_holds_these_networks() -> None:
    """Names are public: runs and model files depend on them."""
    assert set(CATALOGUE) == NAMES


def test_rows_are_plain_and_complete() -> None:
    rows = list_networks()
    assert json.loads(json.dumps(rows)) == rows
    assert [row["name"] for row in rows] == list(CATALOGUE)
    (row,) = (row for row in rows if row["name"] == "resnet50")
    assert row["family"] == "resnet"
    assert row["year"] == 2015
    assert row["input_size"] == [3, 224, 224]
    assert row["num_params"] == 25_557_032
    assert row["macs"] == 4_089_184_256
    assert row["published"]["top1_error"] == 0.2285
    assert row["weights"] == ["imagenet", "imagenet_v2"]


def test_rows_of_one_family() -> None:
    assert [row["name"] for row in list_networks(family="lenet")] == ["lenet5", "lenet_300_100"]
    with pytest.raises(InputError, match=r"no family is called 'lenets'; there are: lenet, alexnet, .*resnet"):
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
