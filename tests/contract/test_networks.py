"""What every network of the catalogue promises, one test over every entry."""

import dataclasses
import functools

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.inspection.counting import count_params
from striate.inspection.layers import NetworkDescription, describe_network
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size
from striate.networks.entry import Entry
from striate.training.loss import ClassificationLoss

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.Hardswish, nn.Hardsigmoid)


def small_size(entry: Entry) -> tuple[int, int]:
    """A legal height and width that costs little: not square where the network allows."""
    if entry.is_fixed_size:
        return entry.min_size
    return max(entry.min_size[0], 33), max(entry.min_size[1], 40)


def is_small(entry: Entry) -> bool:
    """Whether weights and an image of the small size cost little."""
    share = small_size(entry)[0] * small_size(entry)[1] / (entry.input_size[1] * entry.input_size[2])
    return entry.num_params < 11_500_000 and share * entry.macs < 1e9


ENTRIES = list(CATALOGUE.values())
SMALL = [entry for entry in ENTRIES if is_small(entry)]
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
every_small_entry = pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
every_fixed_entry = pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.is_fixed_size], ids=lambda entry: entry.name
)


@functools.cache
def without_memory(name: str) -> nn.Module:
    """The network on the meta device in evaluation mode, built once: tests only look at it."""
    return build_network(name, device="meta").eval()


@functools.cache
def described(name: str) -> NetworkDescription:
    return describe_network(without_memory(name), CATALOGUE[name].input_size)


@every_entry
def test_any_number_of_channels_and_classes(entry: Entry) -> None:
    """A number that is not the paper's; other tests have two channels and seven classes, or three."""
    in_channels, num_classes = (4 if entry.input_size[0] == 1 else 1), 2
    network = build_network(entry.name, in_channels=in_channels, num_classes=num_classes, device="meta").eval()
    logits = network(torch.empty(2, in_channels, *small_size(entry), device="meta"))
    assert logits.shape == (2, num_classes)


@every_entry
def test_params_and_macs_are_those_stored(entry: Entry) -> None:
    description = described(entry.name)
    num_params = entry.num_params + entry.num_auxiliary_params
    assert (description.num_params, description.macs) == (num_params, entry.macs)
    assert sum(layer.num_params for layer in description.layers) == num_params
    assert sum(layer.macs for layer in description.layers) == entry.macs


@every_entry
def test_stem_and_head_are_the_first_and_last_layer_with_weights(entry: Entry) -> None:
    network = build_network(entry.name, in_channels=2, num_classes=7, device="meta")
    weighted = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert entry.stem == next(iter(weighted))
    assert entry.head == list(weighted)[-1]
    stem, head = weighted[entry.stem], weighted[entry.head]
    assert head.weight.shape[0] == 7
    assert stem.weight.shape[1] == (2 if isinstance(stem, nn.Conv2d) else 2 * 28 * 28)


@every_entry
def test_every_activation_is_its_own_module_and_never_in_place(entry: Entry) -> None:
    network = without_memory(entry.name)
    activations = {name for name, module in network.named_modules() if isinstance(module, ACTIVATIONS)}
    assert not [name for name in activations if getattr(network.get_submodule(name), "inplace", False)]
    layers = {layer.name: layer for layer in described(entry.name).layers}
    assert all(layers[name].num_calls == 1 and layers[name].activation_bytes > 0 for name in activations)


@every_entry
def test_configuration_is_frozen_and_complete(entry: Entry) -> None:
    assert dataclasses.is_dataclass(entry.config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.config.num_classes = 3
    assert (entry.config.in_channels, *entry.input_size[1:]) == entry.input_size
    assert entry.input_size[1:] >= entry.min_size


@every_entry
def test_too_small_images_are_refused_with_the_smallest_size(entry: Entry) -> None:
    network = without_memory(entry.name)
    height, width = entry.min_size
    network(torch.empty(1, entry.input_size[0], height, width, device="meta"))  # the smallest works
    check_input_size(entry, (height, width))
    if height == 1:
        return
    for size in ((height - 1, width), (height, width - 1)):
        with pytest.raises(InputError, match=rf"{height}x{width} pixels( only)? but got {size[0]}x{size[1]}; "):
            network(torch.empty(1, entry.input_size[0], *size, device="meta"))
        with pytest.raises(InputError, match=rf"^{entry.name} .*{height}x{width} pixels"):
            check_input_size(entry, size)


@every_fixed_entry
def test_fixed_size_networks_refuse_larger_images(entry: Entry) -> None:
    larger = (entry.min_size[0] + 1, entry.min_size[1])
    with pytest.raises(InputError, match=f"only but got {larger[0]}x{larger[1]}; resize them"):
        without_memory(entry.name)(torch.empty(1, entry.input_size[0], *larger, device="meta"))


@every_entry
def test_wrong_number_of_channels_is_refused(entry: Entry) -> None:
    channels = entry.input_size[0]
    with pytest.raises(InputError, match=rf"expects images \(N, {channels}, H, W\) but got \(1, {channels + 1}, "):
        without_memory(entry.name)(torch.empty(1, channels + 1, *entry.min_size, device="meta"))


@every_small_entry
def test_gradient_reaches_every_trainable_parameter(entry: Entry) -> None:
    network = build_network(entry.name, num_classes=3, seed=0)
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    ClassificationLoss()(network(images), torch.tensor([0, 2])).backward()
    for name, param in network.named_parameters():
        if param.requires_grad:
            assert param.grad is not None, name
            assert param.grad.isfinite().all(), name
            assert param.grad.any(), name
        else:
            assert param.grad is None, name


@pytest.mark.parametrize("name", ["alexnet", "alexnet_two_towers", "alexnet_small", "resnet18", "resnet34", "resnet50"])
def test_gradient_reaches_every_parameter_of_large_networks(name: str) -> None:
    """Without values, which would cost a gigabyte: a gradient is asked for and comes back for each parameter."""
    network = build_network(name, num_classes=3, device="meta")
    network(torch.empty(2, 3, *small_size(CATALOGUE[name]), device="meta")).sum().backward()
    assert not [name for name, param in network.named_parameters() if param.grad is None]


@every_small_entry
def test_seed_alone_decides_the_weights_and_global_generators_stay(entry: Entry) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_network(entry.name, seed=3).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    second = build_network(entry.name, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_network(entry.name, seed=4).state_dict()
    assert not torch.equal(first[f"{entry.head}.weight"], other[f"{entry.head}.weight"])


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.initialize_from_images], ids=lambda entry: entry.name)
def test_weights_measured_on_images_depend_on_the_images_alone(entry: Entry) -> None:
    assert entry.initialize_from_images is not None
    images = torch.randn(20, *entry.input_size, generator=torch.Generator().manual_seed(1))
    first, second = build_network(entry.name, seed=0), build_network(entry.name, seed=1)
    stem = f"{entry.stem}.weight"
    assert not torch.equal(first.get_parameter(stem), second.get_parameter(stem))
    for network in (first, second):
        entry.initialize_from_images(network, images)
    assert torch.equal(first.get_parameter(stem), second.get_parameter(stem))


@every_small_entry
def test_saved_and_loaded_weights_give_the_same_answers(entry: Entry) -> None:
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    network = build_network(entry.name, seed=0).eval()
    other = build_network(entry.name, seed=1).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.equal(network(images), other(images))


@every_small_entry
def test_channels_last_and_batch_of_one_give_the_same_answers(entry: Entry) -> None:
    images = torch.randn(3, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    network = build_network(entry.name, seed=0).eval()
    with torch.inference_mode():
        logits = network(images)
        # sums in another order: float32 rounding only
        torch.testing.assert_close(network(images[:1]), logits[:1], rtol=1e-4, atol=1e-5)
        last = network.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, logits, rtol=1e-4, atol=1e-5)


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="num_classes must be a whole number of at least 1 but is 0"):
        build_network("lenet5", num_classes=0)
    with pytest.raises(InputError, match="in_channels must be a whole number of at least 1 but is -1"):
        build_network("resnet18", in_channels=-1)


def test_near_misses_are_offered() -> None:
    with pytest.raises(InputError, match=r"no network is called 'ResNet-18'; did you mean .*resnet18"):
        build_network("ResNet-18")


def test_count_params_counts_a_shared_parameter_once() -> None:
    first = nn.Linear(3, 3, bias=False)
    second = nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    assert count_params(nn.Sequential(first, second)) == 9
