"""Networks on another network's features: names, taps, what is left of the base, weights."""

import pytest
import torch

from striate.errors import InputError
from striate.networks.catalogue import build_network, entry_for, names_network, split_reference
from striate.networks.hooks import outputs_until
from striate.networks.pyramid import backbone_of, maps_of
from striate.weights.adapting import load_pretrained


def test_names_of_parts_on_bases():
    assert names_network("fcos:squeezenet1_0")
    assert names_network("fcos:timm:resnet18")
    assert not names_network("fcos:nothing")
    assert split_reference("fcos:squeezenet1_0:file.pt") == ("fcos:squeezenet1_0", "file.pt")
    assert entry_for("fcos:squeezenet1_0").base is entry_for("squeezenet1_0")
    with pytest.raises(InputError, match="did you mean resnet18"):
        entry_for("fcos:resnet81")
    with pytest.raises(InputError, match="is a detector"):
        entry_for("fcos:fcos:resnet18")


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "shufflenet_v2_x0_5"])
def test_a_base_gives_one_map_a_stride_and_keeps_nothing_that_does_not_run(name):
    base, taps = backbone_of(entry_for(name), 3, (8, 16, 32))
    assert [tap.stride for tap in taps] == [8, 16, 32][: len(taps)]
    maps = maps_of(base, torch.rand(2, 3, 128, 160), taps)
    for tap, each in zip(taps, maps, strict=True):
        assert each.shape[:2] == (2, tap.channels)
        assert abs(each.shape[2] - 128 / tap.stride) <= 1
        assert abs(each.shape[3] - 160 / tap.stride) <= 1
    sum(each.sum() for each in maps).backward()
    assert all(param.grad is not None for param in base.parameters())


@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet50", [256, 512, 1024, 2048]), ("mobilenet_v2", [24, 32, 96, 1280]), ("squeezenet1_0", [256, 512, 512])],
)
def test_taps_are_the_ends_of_stages(name, channels):
    with torch.device("meta"):
        _, taps = backbone_of(entry_for(name), 3, (4, 8, 16, 32))
    assert [tap.channels for tap in taps] == channels


def test_maps_are_those_of_the_whole_network():
    whole, (base, taps) = build_network("resnet18", seed=0).eval(), backbone_of(entry_for("resnet18"), 3, (8, 32))
    base.load_state_dict({name: value for name, value in whole.state_dict().items() if name in base.state_dict()})
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fine, coarse = maps_of(base.eval(), images, taps)
    stages = whole.layer2(whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(images))))))
    assert torch.equal(fine, stages)
    assert torch.equal(coarse, whole.layer4(whole.layer3(stages)))


def test_outputs_until_leaves_no_hooks_and_names_what_does_not_run():
    network = build_network("lenet5", seed=0)
    network.spare = torch.nn.Linear(1, 1)
    with pytest.raises(InputError, match="does not run"):
        outputs_until(network, torch.zeros(1, 1, 32, 32), ["spare"])
    assert not any(module._forward_hooks for module in network.modules())


def test_weights_of_the_base_are_taken_over(tmp_path):
    state = build_network("squeezenet1_1", num_classes=7, in_channels=3, seed=1).state_dict()
    torch.save(state, tmp_path / "base.pt")
    lines = []
    loaded = load_pretrained(
        "fcos:squeezenet1_1", tmp_path / "base.pt", num_classes=2, in_channels=1, seed=0, log=lines.append
    )
    own = loaded.network.state_dict()
    assert torch.equal(own["base.features.3.squeeze.weight"], state["features.3.squeeze.weight"])
    assert torch.allclose(own["base.features.0.weight"][:, 0], state["features.0.weight"].sum(1))
    assert loaded.network.classify.out_channels == 2
    assert any("are taken over" in line for line in lines)
