"""Weights made to fit: channels, heads, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.weights.adapting import (
    adapt_channels,
    adapt_preprocessing,
    find_counts,
    find_fitting_networks,
    fit_weights,
    load_pretrained,
)
from striate.weights.model_file import ModelFile, write_model_file

COLOUR = Preprocessing(channels=3, resize_size=40, crop_size=(33, 33), mean=(0.1, 0.2, 0.6), std=(1.0, 2.0, 3.0))
CAFFE = Preprocessing(
    channels=3, resize_size=40, crop_size=(33, 33), mean=(104, 117, 123), std=(1, 1, 1), scale=1.0, channel_order="BGR"
)


def test_channels_on_paper() -> None:
    weight = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
    assert adapt_channels(weight, 3, 1).flatten().tolist() == [7.0]
    assert adapt_channels(weight, 3, 2).flatten().tolist() == [5.0, 2.0]
    assert adapt_channels(weight, 3, 3).flatten().tolist() == [1.0, 2.0, 4.0]
    assert adapt_channels(weight, 3, 4).flatten().tolist() == [0.5, 2.0, 4.0, 0.5]
    assert adapt_channels(weight, 3, 6).flatten().tolist() == [0.5, 1.0, 2.0, 0.5, 1.0, 2.0]
    assert adapt_channels(torch.tensor([[6.0]]).reshape(1, 1, 1, 1), 1, 3).flatten().tolist() == [2.0, 2.0, 2.0]


def test_channels_of_a_linear_layer_on_paper() -> None:
    weight = torch.tensor([[1.0, 2.0, 10.0, 20.0, 100.0, 200.0]])  # three channels of two pixels
    assert adapt_channels(weight, 3, 1).tolist() == [[111.0, 222.0]]
    assert adapt_channels(torch.tensor([[4.0, 6.0]]), 1, 2).tolist() == [[2.0, 3.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("resnet20_cifar", 1),
        ("resnet20_cifar", 2),
        ("resnet20_cifar", 5),
        ("lenet_300_100", 1),
        ("lenet_300_100", 4),
        ("fractalnet40_cifar100", 1),
    ],
)
def test_equal_channels_give_the_same_answers(name: str, new: int) -> None:
    entry = CATALOGUE[name]
    size = entry.input_size[1:]
    grey = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    before = build_network(name, in_channels=3, num_classes=4, seed=0).eval()
    after = build_network(name, in_channels=new, num_classes=4, seed=1).eval()
    after.load_state_dict(fit_weights(entry, after, before.state_dict()))
    with torch.inference_mode():
        # the same sums in another order
        torch.testing.assert_close(
            after(grey.expand(-1, new, -1, -1)), before(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
        )


def test_preprocessing_goes_with_the_channels() -> None:
    grey = adapt_preprocessing(COLOUR, 1)
    assert grey.mean == pytest.approx((0.3,))
    assert grey.std == pytest.approx((2.0,))
    assert adapt_preprocessing(COLOUR, 5).mean == (0.1, 0.2, 0.6, 0.1, 0.2)
    assert adapt_preprocessing(COLOUR, 2).mean == pytest.approx((0.35, 0.2))
    assert adapt_preprocessing(COLOUR, 3) is COLOUR
    assert adapt_preprocessing(CAFFE, 1).channel_order == "RGB"


def test_every_change_is_told_once() -> None:
    entry = CATALOGUE["squeezenet1_1"]
    state = build_network(entry.name, num_classes=9, seed=0).state_dict()
    network = build_network(entry.name, num_classes=2, in_channels=1, seed=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told: list[str] = []
    fitted = fit_weights(entry, network, state, log=told.append)
    assert told == [
        "squeezenet1_1: the 3 input channels of the first layer, features.0, are summed into 1",
        "squeezenet1_1: the last layer, classifier.1, with 9 outputs is replaced by a new one with 2",
    ]
    assert torch.equal(fitted["classifier.1.weight"], before["classifier.1.weight"])
    assert torch.equal(fitted["features.3.squeeze.weight"], state["features.3.squeeze.weight"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert state["features.0.weight"].shape[1] == 3
    told.clear()
    fit_weights(entry, build_network(entry.name, num_classes=9), state, log=told.append)
    assert told == []


def test_batch_norms_counters_may_be_missing_and_half_weights_become_float() -> None:
    entry = CATALOGUE["resnet20_cifar"]
    network = build_network(entry.name, seed=0)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    fitted = fit_weights(entry, network, {name: value.half() for name, value in state.items()})
    network.load_state_dict(fitted, strict=True)
    assert fitted["fc.weight"].dtype == torch.float32


def test_weights_of_another_network_name_the_one_that_fits() -> None:
    state = build_network("resnet34", num_classes=7, in_channels=4, device="meta").state_dict()
    network = build_network("resnet18", num_classes=7, in_channels=4, device="meta")
    with pytest.raises(ModelFileError, match="the weights do not fit resnet18: ") as caught:
        fit_weights(CATALOGUE["resnet18"], network, state)
    message = str(caught.value)
    assert "96 unexpected (layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, ...)" in message
    assert message.endswith("; they would fit resnet34")


def test_missing_and_misshapen_weights_are_named() -> None:
    entry = CATALOGUE["lenet5"]
    network = build_network("lenet5", seed=0)
    state = dict(network.state_dict())
    del state["fc1.bias"]
    state["conv2.weight"] = torch.zeros(16, 6, 3, 3)
    with pytest.raises(ModelFileError) as caught:
        fit_weights(entry, network, state)
    assert str(caught.value) == (
        "the weights do not fit lenet5: 1 missing (fc1.bias); 1 of another shape (conv2.weight is (16, 6, 3, 3) and "
        "should be (16, 6, 5, 5)); no other network of the catalogue has these weights"
    )


def test_whole_numbers_are_no_weights() -> None:
    network = build_network("lenet5", seed=0)
    state = {**network.state_dict(), "fc1.bias": torch.zeros(84, dtype=torch.int8)}
    with pytest.raises(
        ModelFileError, match=r"1 of another type \(fc1.bias is torch.int8 and should be torch.float32\)"
    ):
        fit_weights(CATALOGUE["lenet5"], network, state)


def test_a_linear_layer_of_no_whole_number_of_channels_is_refused() -> None:
    network = build_network("lenet_300_100", in_channels=3, device="meta")
    state = dict(build_network("lenet_300_100", seed=0).state_dict())
    state["fc1.weight"] = torch.zeros(300, 2 * 784 + 1)
    with pytest.raises(ModelFileError, match=r"fc1.weight is \(300, 1569\) and should be \(300, 2352\)"):
        fit_weights(CATALOGUE["lenet_300_100"], network, state)


def test_whitening_layers_cannot_change_channels() -> None:
    entry = CATALOGUE["airbench94_cifar"]
    state = build_network(entry.name, seed=0).state_dict()
    with pytest.raises(ModelFileError, match=r"whiten.weight is \(24, 3, 2, 2\) and should be \(8, 1, 2, 2\)"):
        fit_weights(entry, build_network(entry.name, in_channels=1), state)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_network_finds_itself_and_its_counts(name: str) -> None:
    state = build_network(name, in_channels=2, num_classes=6, device="meta").state_dict()
    assert find_counts(CATALOGUE[name], state) == (2, 6)
    assert name in find_fitting_networks(state)


def test_strange_weights_fit_nothing() -> None:
    assert find_fitting_networks({}) == []
    assert find_fitting_networks({"conv1.weight": torch.zeros(()), "fc.weight": torch.zeros(3)}) == []
    assert (
        find_counts(CATALOGUE["lenet5"], {"conv1.weight": torch.zeros(6, 0, 5, 5), "fc2.weight": torch.zeros(1, 2)})
        is None
    )


def save(folder: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_load_pretrained_takes_its_counts_from_the_weights(tmp_path: Path) -> None:
    state = build_network("resnet20_cifar", num_classes=4, in_channels=2, seed=0).state_dict()
    loaded = load_pretrained("resnet20_cifar", save(tmp_path, state))
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert loaded.network.training
    assert (loaded.has_new_head, loaded.class_names, loaded.preprocessing) == (False, None, None)


def test_load_pretrained_draws_a_new_head_from_the_seed(tmp_path: Path) -> None:
    path = save(tmp_path, build_network("lenet5", seed=0).state_dict())
    loaded = load_pretrained("lenet5", path, num_classes=3, seed=7)
    fresh = build_network("lenet5", num_classes=3, seed=7)
    assert loaded.has_new_head
    assert torch.equal(loaded.network.get_parameter("fc2.weight"), fresh.get_parameter("fc2.weight"))
    with pytest.raises(InputError, match="in_channels must be a whole number of at least 1 but is 0"):
        load_pretrained("lenet5", path, in_channels=0)


@pytest.mark.parametrize("in_channels", [2, 4])
def test_blue_first_weights_are_turned_before_channels_change(in_channels: int, tmp_path: Path) -> None:
    """Channel 0 is red whatever came first in the file, and takes red's mean and red's filters."""
    state = build_network("resnet20_cifar", seed=0).state_dict()
    names = tuple("abcdefghij")
    model_file = ModelFile("resnet20_cifar", {"in_channels": 3, "num_classes": 10}, names, CAFFE)
    write_model_file(tmp_path / "model.safetensors", model_file, state)
    loaded = load_pretrained("resnet20_cifar", tmp_path / "model.safetensors", in_channels=in_channels)
    assert loaded.class_names == names
    assert loaded.preprocessing is not None
    assert loaded.preprocessing.channel_order == "RGB"
    expected = {2: (113.5, 117.0), 4: (123.0, 117.0, 104.0, 123.0)}  # BGR means were 104, 117, 123
    assert loaded.preprocessing.mean == expected[in_channels]
    blue, green, red = state["conv1.weight"].unbind(1)
    filters = {2: (red + blue, green), 4: (red / 2, green, blue, red / 2)}[in_channels]
    torch.testing.assert_close(loaded.network.get_parameter("conv1.weight"), torch.stack(filters, dim=1))


def test_real_weights_for_two_classes_of_grey_images(shared_data: Path) -> None:
    path = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    told: list[str] = []
    loaded = load_pretrained("squeezenet1_0", path, num_classes=2, in_channels=1, seed=0, log=told.append)
    assert len(told) == 2
    assert loaded.preprocessing is not None
    assert (loaded.preprocessing.mean, loaded.preprocessing.channel_order) == (((104 + 117 + 123) / 3,), "RGB")
    assert loaded.class_names is None
    images = loaded.preprocessing.normalize(torch.full((1, 1, 227, 227), 90, dtype=torch.uint8))
    assert isinstance(loaded.network, nn.Module)
    assert loaded.network.eval()(images).shape == (1, 2)
