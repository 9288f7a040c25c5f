"""Other people's networks by name: what an entry says of them, and what is refused."""

import copy
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from striate.errors import InputError, ModelFileError
from striate.inspection.describe import describe
from striate.inspection.layers import describe_network
from striate.networks import torchvision_library
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import (
    CATALOGUE,
    build_network,
    check_input_size,
    entry_for,
    names_network,
    split_reference,
)
from striate.networks.external import external_entry
from striate.recipes.choices import Choices
from striate.recipes.defaults import DataFacts, default_preprocessing, default_recipe
from striate.tasks.model import load_model
from striate.weights.adapting import load_pretrained
from striate.weights.loading import load_weights
from striate.weights.model_file import ModelFile, read_model_file, write_model_file

SMALL = ["timm:test_resnet", "timm:test_vit", "torchvision:shufflenet_v2_x0_5", "torchvision:regnet_y_400mf"]
DISTILLED = "timm:deit_tiny_distilled_patch16_224"
DIGITS = DataFacts(num_train=1400, num_classes=10, channels=1, height=8, width=8)


@pytest.mark.parametrize("name", SMALL)
def test_entries_count_what_is_there(name: str) -> None:
    entry = entry_for(name)
    network = build_network(name, device="meta").eval()
    description = describe_network(network, entry.input_size)
    assert (description.num_params, description.macs) == (entry.num_params, entry.macs)
    assert (entry.name, entry.family, entry.year) == (name, name.partition(":")[0], None)
    assert entry.config.name == name
    stem, head = network.get_submodule(entry.stem), network.get_submodule(entry.head)
    assert isinstance(stem, nn.Conv2d)
    assert stem.in_channels == 3
    assert isinstance(head, nn.Linear)
    assert head.out_features == entry.config.num_classes == 1000
    assert entry.head in [layer.name for layer in description.layers][-1]


@pytest.mark.parametrize("name", SMALL)
def test_any_number_of_channels_and_classes_and_seeds(name: str) -> None:
    entry = entry_for(name)
    before = torch.get_rng_state()
    network = build_network(name, num_classes=5, in_channels=2, seed=0)
    again = build_network(name, num_classes=5, in_channels=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))
    side = entry.min_size[0]
    with torch.no_grad():
        assert network.eval()(torch.randn(1, 2, side, side)).shape == (1, 5)
    without_memory = build_network(name, num_classes=5, in_channels=2, device="meta")
    assert {tensor.device.type for tensor in without_memory.state_dict().values()} == {"meta"}
    shapes = {key: (value.shape, value.dtype) for key, value in network.state_dict().items()}
    assert shapes == {key: (value.shape, value.dtype) for key, value in without_memory.state_dict().items()}


def test_the_catalogues_own_networks_are_described_alike() -> None:
    """What we wrote from the paper and what torchvision and timm have: the same counts, first and last layer."""
    for library, name in (("torchvision", "squeezenet1_0"), ("timm", "resnet18")):
        ours, theirs = CATALOGUE[name], entry_for(f"{library}:{name}")
        for key in ("num_params", "macs", "stem", "head", "input_size", "is_fixed_size"):
            assert getattr(ours, key) == getattr(theirs, key), key
    assert not entry_for("torchvision:squeezenet1_0").has_norm
    assert entry_for("timm:resnet18").has_norm


def test_sizes() -> None:
    fixed, free = entry_for(DISTILLED), entry_for("torchvision:regnet_y_400mf")
    assert (fixed.input_size, fixed.min_size, fixed.is_fixed_size) == ((3, 224, 224), (224, 224), True)
    assert (free.input_size, free.min_size, free.is_fixed_size) == ((3, 224, 224), (32, 32), False)
    check_input_size(free, (19, 50))
    with pytest.raises(InputError, match=rf"{DISTILLED} cannot take images of 64x64 pixels: .*; its own size is 224x"):
        check_input_size(fixed, (64, 64))
    assert default_preprocessing(DIGITS, fixed, None).crop_size == (224, 224)
    assert default_preprocessing(DIGITS, free, None).crop_size == (64, 64)


def test_every_head_changes_with_the_classes() -> None:
    """A distilled transformer has two heads, and answers with their mean."""
    entry = entry_for(DISTILLED)
    assert (entry.head, entry.auxiliary_heads, entry.num_auxiliary_params) == ("head", ("head_dist",), 0)


def test_auxiliary_heads_answer_as_ours_do() -> None:
    entry = entry_for("torchvision:googlenet")
    assert (entry.head, entry.auxiliary_heads) == ("fc", ("aux1.fc2", "aux2.fc2"))
    assert entry.num_params == torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.meta["num_params"]
    network = copy.deepcopy(build_network(entry.name, num_classes=4, in_channels=1, device="meta"))
    answer = network(torch.empty(2, 1, 64, 64, device="meta"))
    assert isinstance(answer, WithAuxiliary)
    assert [logits.shape for logits in (answer.logits, *answer.auxiliary)] == [(2, 4)] * 3
    assert answer.weight == 0.3
    assert network.eval()(torch.empty(2, 1, 64, 64, device="meta")).shape == (2, 4)


def test_a_size_that_only_training_cannot_take() -> None:
    """Inception v3's auxiliary head needs more pixels than the network."""
    entry = entry_for("torchvision:inception_v3")
    check_input_size(entry, (80, 80))
    with pytest.raises(
        InputError, match=r"torchvision:inception_v3 cannot take images of 80x80 pixels: .* too small; its"
    ):
        check_input_size(entry, (80, 80), training=True)


def test_other_channels_spread_as_far() -> None:
    """The replaced convolution: its outputs for noise have the deviation that the library's own has for colour."""
    generator = torch.Generator().manual_seed(0)
    stds = {}
    for channels in (1, 3, 6):
        network = build_network("torchvision:regnet_y_400mf", in_channels=channels, seed=0)
        images = torch.randn(8, channels, 32, 32, generator=generator)
        with torch.no_grad():
            stds[channels] = network.get_submodule("stem.0")(images).std().item()
    assert stds[1] == pytest.approx(stds[3], rel=0.15)
    assert stds[6] == pytest.approx(stds[3], rel=0.15)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet81", r"^timm has no network called 'resnet81'; did you mean timm:resnet18, timm:"),
        ("timm:resnet18.a9_in1k", r"^timm has no network called 'resnet18.a9_in1k'; did you mean timm:resnet18\.a"),
        ("timm:hf-hub:timm/resnet18", "^timm has no network called 'hf-hub:timm/resnet18'"),
        ("timm:", "^name a network after timm:, such as timm:resnet18$"),
        ("torchvision:rasnet50", "^torchvision has no network called 'rasnet50'; did you mean torchvision:resnet50"),
        ("torchvision:fcn_resnet50", "^torchvision:fcn_resnet50 is no image classifier: it labels every pixel$"),
        ("torchvision:ssd300_vgg16", "is no image classifier: it finds objects and their boxes$"),
        ("torchvision:quantized_resnet18", "is no image classifier: it is quantised, and cannot be trained$"),
        ("torchvision:r3d_18", "is no image classifier: it takes videos$"),
        ("torchvision:raft_small", "is no image classifier: it compares two images$"),
        ("tv:resnet18", "no network is called 'tv:resnet18'; did you mean"),
    ],
)
def test_what_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        entry_for(name)
    assert "\n" not in str(caught.value)


class Pixelwise(nn.Module):
    """Answers for every pixel, or begins with no convolution, or has a last layer without weights for every class."""

    def __init__(self, what: str, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.what = what
        self.first = nn.Conv2d(in_channels, 4, 3) if what != "linear" else nn.Linear(8, 8)
        self.second = nn.Conv2d(in_channels if what == "linear" else 4, num_classes if what != "headless" else 1, 1)
        self.scale = nn.Parameter(torch.ones(num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.second(self.first(images))
        return maps if self.what == "pixels" else maps.mean((2, 3)) * self.scale


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "pixels",
            r"an image classifier answers one image with logits \(1, 10\) but this network with \(1, 10, 6, 6\)",
        ),
        ("linear", "does not begin with a convolution of the image, so that striate cannot fit it to other images"),
        ("headless", "has no last layer with a row of weights for every class, so that striate cannot fit it to other"),
        ("broken", "cannot be built as an image classifier: "),
    ],
)
def test_networks_of_another_make_are_refused(what: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(torchvision_library.facts("resnet18"), size=(8, 8), num_classes=10)
    library = replace(
        torchvision_library.LIBRARY,
        facts=lambda _: facts,
        build=lambda _, channels, classes: (
            Pixelwise(what, channels, classes) if what != "broken" else nn.Conv2d(3, classes, 99)
        ),
    )
    monkeypatch.setitem(sys.modules["striate.networks.external"].LIBRARIES, "torchvision", library)
    with pytest.raises(InputError, match=message):
        external_entry(f"torchvision:{what}")


def test_without_timm_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it raises ImportError
    line = re.escape("timm:anything needs timm, which is not installed; pip install 'striate[timm]'")
    with pytest.raises(InputError, match=f"^{line}$"):
        entry_for("timm:anything")
    with pytest.raises(InputError, match=line):
        describe("timm:anything")
    preprocessing = default_preprocessing(DIGITS, CATALOGUE["resnet18"], 32)
    with pytest.raises(ModelFileError, match=line):
        ModelFile("timm:anything", {"in_channels": 1, "num_classes": 2}, ("a", "b"), preprocessing)


def test_references() -> None:
    assert split_reference("lenet5") == ("lenet5", "")
    assert split_reference("resnet50:imagenet_v2") == ("resnet50", "imagenet_v2")
    assert split_reference("timm:resnet18") == ("timm:resnet18", "")
    assert split_reference("timm:resnet18:c:/w.pth") == ("timm:resnet18", "c:/w.pth")
    assert split_reference("torchvision:vgg11:imagenet") == ("torchvision:vgg11", "imagenet")
    assert names_network("timm:anything")
    assert names_network("lenet5")
    assert not names_network("timm:resnet18:w.pth")
    assert not names_network("runs/timm")


def test_the_best_rate_depends_on_norms() -> None:
    for name, rate in (("torchvision:squeezenet1_0", 1e-4), ("timm:test_vit", 1e-3)):
        optimizer = default_recipe(DIGITS, entry_for(name), Choices()).optimizer
        assert (optimizer.name, optimizer.learning_rate) == ("adamw", rate)


@pytest.mark.parametrize("name", ["timm:test_resnet", "torchvision:shufflenet_v2_x0_5"])
def test_model_files_hold_the_reference_and_check_names_and_shapes(name: str, tmp_path: Path) -> None:
    network = build_network(name, num_classes=3, in_channels=1, seed=1)
    preprocessing = default_preprocessing(DIGITS, CATALOGUE["resnet18"], 64)
    about = ModelFile(name, {"in_channels": 1, "num_classes": 3}, ("a", "b", "c"), preprocessing)
    assert about.config == {"name": name, "in_channels": 1, "num_classes": 3}
    path = tmp_path / "model.safetensors"
    write_model_file(path, about, network.state_dict())
    read, state = read_model_file(path)
    assert read == about
    image = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    rebuilt = read.build_network()
    rebuilt.load_state_dict(state)
    with torch.no_grad():
        expected = network.eval()(preprocessing.normalize(image)).softmax(1)
    for reference in (path, f"{name}:{path}"):
        torch.testing.assert_close(load_model(reference).probabilities(image), expected)
    del state[next(reversed(state))]
    with pytest.raises(ModelFileError, match=f"it lacks .* of {name}"):
        write_model_file(tmp_path / "other", about, state)


def test_a_file_cannot_name_one_network_and_mean_another() -> None:
    preprocessing = default_preprocessing(DIGITS, CATALOGUE["resnet18"], 64)
    config = {"name": "timm:test_vit", "in_channels": 1, "num_classes": 2}
    about = ModelFile("timm:test_resnet", config, ("a", "b"), preprocessing)
    with pytest.raises(ModelFileError, match="timm:test_resnet cannot be built from the settings of timm:test_vit"):
        about.build_network(device="meta")
    with pytest.raises(ModelFileError, match="the network is 'timm:resnet81', but timm has no network called 'resnet8"):
        ModelFile("timm:resnet81", {"in_channels": 1, "num_classes": 2}, ("a", "b"), preprocessing)


def test_weights_from_a_file_fit_other_channels_and_classes(tmp_path: Path) -> None:
    """timm's own safetensors, as its hub has them."""
    theirs = timm.create_model("test_resnet", pretrained=False)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    told: list[str] = []
    loaded = load_pretrained(
        "timm:test_resnet", tmp_path / "w.safetensors", num_classes=2, in_channels=1, seed=0, log=told.append
    )
    assert loaded.has_new_head
    assert [line.partition(":")[2].partition(",")[0] for line in told] == [
        "test_resnet: the 3 input channels of the first layer",
        "test_resnet: the last layer",
    ]
    stem = entry_for("timm:test_resnet").stem
    expected = theirs.get_submodule(stem).weight.sum(1, keepdim=True)
    torch.testing.assert_close(loaded.network.get_submodule(stem).weight, expected)
    model = load_model(f"timm:test_resnet:{tmp_path}/w.safetensors", log=told.append)
    assert told[-2].endswith("does not say how images are prepared: as for the weights that timm publishes")
    assert len(model.class_names) == 1000
    assert model.network_config == asdict(entry_for("timm:test_resnet").config)


def test_weights_without_a_version_load_into_mnasnet() -> None:
    network = copy.deepcopy(build_network("torchvision:mnasnet0_5", num_classes=2, device="meta"))
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    network.load_state_dict(dict(network.state_dict()))
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("network", "old", "new"),
    [
        (
            "densenet121",
            "features.denseblock1.denselayer2.norm.1.weight",
            "features.denseblock1.denselayer2.norm1.weight",
        ),
        ("vit_b_16", "encoder.layers.encoder_layer_0.mlp.linear_1.bias", "encoder.layers.encoder_layer_0.mlp.0.bias"),
        ("vit_b_16", "encoder.layers.encoder_layer_0.mlp.linear_2.bias", "encoder.layers.encoder_layer_0.mlp.3.bias"),
    ],
)
def test_old_names_in_published_files(network: str, old: str, new: str) -> None:
    rename = torchvision_library.facts(network).rename
    assert rename is not None
    names = build_network(f"torchvision:{network}", device="meta").state_dict()
    assert rename(old) == new
    assert new in names
    assert all(rename(name) == name for name in names)


def test_weights_of_timms_hub_are_refused() -> None:
    with pytest.raises(InputError, match=r"^timm:test_vit has no weights 'imagenet', .*; give the path of a file, for"):
        load_weights(entry_for("timm:test_vit"), "imagenet")


def test_published_weights_of_torchvision_are_only_fetched_if_allowed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(InputError, match=r"weights 'imagenet' \(17\.6 MB\) are not at .*allow the download"):
        load_model("torchvision:regnet_y_400mf:imagenet")
    with pytest.raises(InputError, match="torchvision:regnet_y_400mf is a network without weights; say torchvision:"):
        load_model("torchvision:regnet_y_400mf")
    with pytest.raises(InputError, match="did you mean timm:resnet18"):
        load_model("timm:resnet81")


def test_describe_takes_their_names() -> None:
    assert describe("timm:test_resnet").num_params == entry_for("timm:test_resnet").num_params
    grey = describe("torchvision:shufflenet_v2_x0_5", input_size=(1, 40, 33))
    assert grey.layers[0].output_shape == (24, 20, 17)
    with pytest.raises(InputError, match=f"{DISTILLED} cannot take images of 40x40 pixels"):
        describe(DISTILLED, input_size=(3, 40, 40))
