"""The smallest network of every family loses channels and goes on: same answers as with these channels silenced, and it
can be trained.
"""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.compression.channel_trace import Channels, trace_channels
from striate.compression.channels import groups_to_go, prune_channels, without_groups
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.entry import Entry
from striate.tasks.classification.logits import class_logits
from striate.weights.compressed_file import compressed_bytes, read_compressed_file
from striate.weights.model_file import ModelFile

REFUSED = {
    "neocognitron": "its cells have weights of their own for each plane",
    "lenet": "lenet1: gains and tables name single maps",
    "rbf": "its units are distances from whole images",
    "maxout": "its code wants a fixed number of pieces",
}
NOT_COMPARABLE = {"alexnet", "zfnet", "inception", "tdnn"}
"""Local response norm: a silent channel does not move its neighbours together. TDNN: the logistic function of a silent
unit is a half.
"""
SLOW = {
    "nasnet_a_cifar", "overfeat_fast", "preact_resnet164_cifar", "zfnet", "resnet110_stochastic_depth_cifar",
    "xception", "resnext50_32x4d",
    "se_resnet50", "efficientnet_b0",
}  # fmt: skip


def smallest_of_each_family() -> list[Entry]:
    smallest: dict[str, Entry] = {}
    for entry in CATALOGUE.values():
        if entry.family not in smallest or entry.macs < smallest[entry.family].macs:
            smallest[entry.family] = entry
    return list(smallest.values())


def images_for(entry: Entry, num: int = 1) -> Tensor:
    size = entry.input_size if entry.is_fixed_size else (entry.input_size[0], *_fit(entry))
    return torch.randn(num, *size, generator=torch.Generator().manual_seed(0))


def _fit(entry: Entry) -> tuple[int, int]:
    """A size that is quick, and legal."""
    side = max(64, *entry.min_size) if entry.input_size[1] > 64 else entry.input_size[1]
    return side, side


def silenced(network: nn.Module, channels: Channels, gone: set[int]) -> nn.Module:
    """A copy whose pruned channels are 0 wherever a layer makes them."""
    silent = copy.deepcopy(network)
    with torch.no_grad():
        for name, layer in channels.layers.items():
            module = silent.get_submodule(name)
            off = [place for place, number in enumerate(layer.outputs) if channels.group_of(number) in gone]
            for key in ("weight", "bias", "running_mean"):
                if isinstance(getattr(module, key, None), Tensor):
                    getattr(module, key)[off] = 0
    return silent


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=entry.name, marks=[pytest.mark.exhaustive] if entry.name in SLOW else [])
        for entry in smallest_of_each_family()
    ],
)
def test_channels_go(entry):
    network = build_network(entry.name, seed=0).eval()
    images = images_for(entry)
    if entry.family in REFUSED:
        with pytest.raises(InputError, match=r"no channel of|does not run with fewer channels"):
            prune_channels(network, 0.7, images)
        return
    before = {name: value.clone() for name, value in network.state_dict().items()}
    channels = trace_channels(network, images)
    gone = groups_to_go(network, channels, 0.7)
    smaller, structure = without_groups(network, channels, gone, images)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    num_params = [sum(param.numel() for param in each.parameters()) for each in (network, smaller)]
    assert num_params[1] < 0.9 * num_params[0]
    with torch.no_grad():
        found, expected = smaller(images), silenced(network, channels, gone)(images)
    assert found.shape == expected.shape
    if entry.family not in NOT_COMPARABLE:
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max() + 1))
    smaller.train()
    logits = class_logits(smaller(images_for(entry, 2)))
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    with torch.no_grad():
        for param in smaller.parameters():
            if param.grad is not None:
                assert param.grad.shape == param.shape
                param -= 1e-3 * param.grad
    assert structure


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenet_v1_x0_25", "lenet5"])
def test_pruned_networks_go_through_the_file_and_torch_export(tmp_path, name):
    entry = CATALOGUE[name]
    network = build_network(name, seed=0).eval()
    images = images_for(entry)
    smaller, structure = prune_channels(network, 0.7, images)
    channels, size = entry.input_size[0], tuple(images.shape[2:])
    preprocessing = Preprocessing(channels, size[0], size, mean=(0.0,) * channels, std=(1.0,) * channels)
    names = tuple(map(str, range(entry.config.num_classes)))
    about = ModelFile(name, dataclasses.asdict(entry.config), names, preprocessing, structure=structure)
    path = tmp_path / "small"
    path.write_bytes(compressed_bytes(about, smaller.state_dict())[0])
    read, state = read_compressed_file(path)
    again = read.build_network()
    again.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(again.eval()(images), smaller.eval()(images))
        exported = torch.export.export(smaller, (images,)).module()
        assert torch.allclose(exported(images), smaller(images), atol=1e-5)
