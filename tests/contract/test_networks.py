"""What every network of the catalogue promises, one test over every entry."""

import dataclasses
from functools import cache
from math import prod

import pytest
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from catalogue_cases import ENTRIES, over, over_families
from striate.errors import InputError
from striate.inspection.counting import count_params
from striate.inspection.layers import NetworkDescription, describe_network
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size
from striate.networks.entry import Entry
from striate.tasks.classification.loss import ClassificationLoss

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid)


def small_size(entry: Entry) -> tuple[int, int]:
    """A legal height and width that costs little: not square where the network allows."""
    if entry.is_fixed_size:
        return entry.min_size
    return max(entry.min_size[0], 33), max(entry.min_size[1], 40)


def is_small(entry: Entry) -> bool:
    """Whether real numbers cost little: by parameters, and by the multiply-adds of one image of `small_size`."""
    share = prod(small_size(entry)) / prod(entry.input_size[1:])
    return entry.num_params < 11_500_000 and share * entry.macs < 1e9


every_entry = over(ENTRIES)
small_entries = over_families(entry for entry in ENTRIES if is_small(entry))
large_entries = over_families(entry for entry in ENTRIES if not is_small(entry))


@cache
def without_memory(name: str) -> nn.Module:
    """The network on the meta device in evaluation mode, built once: tests only look at it."""
    return build_network(name, device="meta").eval()


@cache
def described(name: str) -> NetworkDescription:
    """The network at its own input size."""
    return describe_network(without_memory(name), CATALOGUE[name].input_size, measure_memory=False)


@every_entry
def test_any_number_of_channels_and_classes(entry: Entry) -> None:
    """A number that is not the paper's; other tests have two channels and seven classes, or three."""
    in_channels, num_classes = (4 if entry.input_size[0] == 1 else 1), 2
    network = build_network(entry.name, in_channels=in_channels, num_classes=num_classes, device="meta").eval()
    logits = network(torch.empty(2, in_channels, *small_size(entry), device="meta"))
    assert logits.shape == (2, num_classes)


@over(CATALOGUE.values())
def test_params_and_macs_are_those_stored(entry: Entry) -> None:
    description = described(entry.name)
    num_params = entry.num_params + entry.num_auxiliary_params
    assert (description.num_params, description.macs) == (num_params, entry.macs)
    assert sum(layer.num_params for layer in description.layers) == num_params
    assert sum(layer.macs for layer in description.layers) == entry.macs


@every_entry
def test_stem_and_head_are_the_first_and_last_layer_with_weights(entry: Entry) -> None:
    network = build_network(entry.name, in_channels=2, num_classes=7, device="meta")
    weights = {name: getattr(module, "weight", None) for name, module in network.named_modules()}
    weighted = {
        name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter) and weight.ndim > 1
    }
    assert entry.stem == next(iter(weighted))
    assert entry.head == list(weighted)[-1]
    stem, head = weighted[entry.stem], weighted[entry.head]
    assert head.shape[0] == 7
    assert stem.shape[1] == (2 if stem.ndim > 2 else 2 * 28 * 28)


@over(entry for entry in ENTRIES if entry.other_stems)
def test_other_stems_are_the_other_layers_that_see_the_images(entry: Entry) -> None:
    narrow, wide = (build_network(entry.name, in_channels=count, device="meta").state_dict() for count in (2, 5))
    changed = {name for name in narrow if narrow[name].shape != wide[name].shape}
    assert changed == {f"{stem}.weight" for stem in (entry.stem, *entry.other_stems)}


@every_entry
def test_every_activation_is_its_own_module_and_never_in_place(entry: Entry) -> None:
    network = without_memory(entry.name)
    activations = {name for name, module in network.named_modules() if isinstance(module, ACTIVATIONS)}
    assert not [name for name in activations if getattr(network.get_submodule(name), "inplace", False)]
    training_only = tuple(f"{head.rpartition('.')[0]}." for head in entry.auxiliary_heads)
    layers = {layer.name: layer for layer in described(entry.name).layers}
    for name in activations:
        if name.startswith(training_only):
            assert name not in layers
        else:
            assert (layers[name].num_calls, layers[name].activation_bytes > 0) == (1, True), name


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


@over(entry for entry in ENTRIES if entry.is_fixed_size)
def test_fixed_size_networks_refuse_larger_images(entry: Entry) -> None:
    larger = (entry.min_size[0] + 1, entry.min_size[1])
    with pytest.raises(InputError, match=f"only but got {larger[0]}x{larger[1]}; resize them"):
        without_memory(entry.name)(torch.empty(1, entry.input_size[0], *larger, device="meta"))


@every_entry
def test_wrong_number_of_channels_is_refused(entry: Entry) -> None:
    channels = entry.input_size[0]
    with pytest.raises(InputError, match=rf"expects images \(N, {channels}, H, W\) but got \(1, {channels + 1}, "):
        without_memory(entry.name)(torch.empty(1, channels + 1, *entry.min_size, device="meta"))


@small_entries
def test_gradient_reaches_every_trainable_parameter(entry: Entry) -> None:
    network = build_network(entry.name, num_classes=8, seed=0)  # of few, all may lie behind a last ReLU
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()  # a path that chance leaves out has no gradient
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    ClassificationLoss()(network(images), torch.tensor([0, 2])).backward()
    for name, param in network.named_parameters():
        if param.requires_grad:
            assert param.grad is not None, name
            assert param.grad.isfinite().all(), name
            assert param.grad.any(), name
        else:
            assert param.grad is None, name


@large_entries
def test_gradient_reaches_every_parameter_of_large_networks(entry: Entry) -> None:
    """Without values, which would cost a gigabyte: a gradient is asked for and comes back for each parameter."""
    network = build_network(entry.name, num_classes=3, device="meta")
    images = torch.empty(2, entry.input_size[0], *small_size(entry), device="meta")
    ClassificationLoss()(network(images), torch.empty(2, dtype=torch.long, device="meta")).backward()
    assert not [name for name, param in network.named_parameters() if param.requires_grad and param.grad is None]


@over(entry for entry in ENTRIES if entry.auxiliary_heads)
def test_auxiliary_heads_answer_in_training_only_and_are_counted_apart(entry: Entry) -> None:
    network = build_network(entry.name, num_classes=3, device="meta")
    images = torch.empty(2, *entry.input_size, device="meta")
    answer = network(images)
    assert isinstance(answer, WithAuxiliary)
    assert [logits.shape for logits in (answer.logits, *answer.auxiliary)] == [(2, 3)] * (
        1 + len(entry.auxiliary_heads)
    )
    assert 0 < answer.weight < 1
    assert network.eval()(images).shape == (2, 3)
    heads = tuple(f"{head.rpartition('.')[0]}." for head in entry.auxiliary_heads)
    whole = build_network(entry.name, device="meta")
    num_params = sum(param.numel() for name, param in whole.named_parameters() if name.startswith(heads))
    assert num_params == entry.num_auxiliary_params
    assert all(isinstance(network.get_submodule(head), nn.Linear) for head in entry.auxiliary_heads)


@small_entries
def test_seed_alone_decides_the_weights_and_global_generators_stay(entry: Entry) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_network(entry.name, seed=3).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    second = build_network(entry.name, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_network(entry.name, seed=4).state_dict()
    assert not torch.equal(first[f"{entry.stem}.weight"], other[f"{entry.stem}.weight"])


@over(entry for entry in ENTRIES if entry.initialize_from_images)
def test_weights_measured_on_images_depend_on_the_images_alone(entry: Entry) -> None:
    assert entry.initialize_from_images is not None
    images = torch.randn(20, *entry.input_size, generator=torch.Generator().manual_seed(1))
    first, second = build_network(entry.name, seed=0), build_network(entry.name, seed=1)
    stem = f"{entry.stem}.weight"
    assert not torch.equal(first.get_parameter(stem), second.get_parameter(stem))
    for network in (first, second):
        entry.initialize_from_images(network, images)
    assert torch.equal(first.get_parameter(stem), second.get_parameter(stem))


@small_entries
def test_saved_and_loaded_weights_give_the_same_answers(entry: Entry) -> None:
    images = torch.randn(2, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    network = build_network(entry.name, seed=0).eval()
    other = build_network(entry.name, seed=1).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.equal(network(images), other(images))


@small_entries
def test_channels_last_and_batch_of_one_give_the_same_answers(entry: Entry) -> None:
    images = torch.randn(3, entry.input_size[0], *small_size(entry), generator=torch.Generator().manual_seed(1))
    network = build_network(entry.name, seed=0).eval()
    with torch.inference_mode():
        logits = network(images)
        # sums in another order: float32 rounding only, of the largest numbers where sums cancel
        atol = 1e-5 * max(1, logits.abs().max().item())
        torch.testing.assert_close(network(images[:1]), logits[:1], rtol=1e-4, atol=atol)
        last = network.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, logits, rtol=1e-4, atol=atol)


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
