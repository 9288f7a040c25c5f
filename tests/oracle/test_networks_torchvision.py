"""Our networks against torchvision's with equal weights, and our counts against torch's own counter."""

import math

import pytest
import torch
import torchvision
import torchvision.transforms.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from striate.inspection.layers import describe_network
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.resnet import CifarResNetConfig, cifar_resnet
from striate.networks.imagenet import imagenet_class_names

NAMES = [name for name in CATALOGUE if name in torchvision.models.list_models()]
"""Every network of ours that torchvision has under the same name."""
LARGE_MACS = 500_000_000
"""Above, `make test-all` counts: of each family a smaller one is below."""
DEEP = ("resnet1202_cifar", "preact_resnet1001_cifar")
"""A thousand layers take torch's counter long; they are of the same operators as all others."""


def small_size(name: str) -> tuple[int, int]:
    """Legal, cheap and not square."""
    height, width = CATALOGUE[name].min_size
    return max(height, 40), max(width, 33)


OPTIONS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": True, "init_weights": False},
    "inception_v3": {"aux_logits": True, "init_weights": False},
}
"""What torchvision must be told so that it builds the whole network and does not warn."""
TRANSFORMED_INSIDE = ("googlenet", "inception_v3")
"""Networks of torchvision's that map ImageNet's normalisation of their images to [-1, 1] themselves, where weights were
published so; ours have it in the weights' preprocessing, and are compared with theirs without it."""


def random_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights for a network on the meta device: He's spread for filters, and batch norms unlike their first ones, so
    that a mix-up would show.
    """
    generator = torch.Generator().manual_seed(2)
    state = network.state_dict()  # a dictionary that also says of which version its names are
    for name, value in state.items():
        filled = torch.zeros(value.shape, dtype=value.dtype)
        if value.ndim > 1:
            bound = math.sqrt(6 / value[0].numel())
            filled.uniform_(-bound, bound, generator=generator)
        elif value.is_floating_point():
            filled.uniform_(0.5, 1.5, generator=generator)
        state[name] = filled
    return state


def shake_norms(network: nn.Module) -> None:
    """Give batch norms statistics and scales unlike their first ones, so that a mix-up would show."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, generator=generator)


def theirs(name: str, *, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, num_classes=num_classes, **OPTIONS.get(name, {}))
    network.load_state_dict(random_state(network), assign=True)
    return network


def with_weights_of(oracle: nn.Module, name: str, *, num_classes: int) -> nn.Module:
    network = build_network(name, num_classes=num_classes, device="meta")
    network.load_state_dict(oracle.state_dict(), assign=True)  # the same memory: even VGG costs nothing twice
    return network


@pytest.mark.parametrize("name", NAMES)
def test_same_weights_give_the_same_logits(name: str) -> None:
    """float32 sums in the same order: equal but for rounding. Ten classes keep the large ones small in memory."""
    oracle = theirs(name, num_classes=10).eval()
    network = with_weights_of(oracle, name, num_classes=10).eval()
    images = torch.randn(2, 3, *small_size(name), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = oracle(images)
        torch.testing.assert_close(
            network(images), expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item())
        )


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    """Nothing is left over on either side, so that published weights load by name."""
    with torch.device("meta"):
        oracle = torchvision.models.get_model(name, **OPTIONS.get(name, {})).state_dict()
    ours = build_network(name, device="meta").state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in oracle.items()}


@pytest.mark.parametrize("name", NAMES)
def test_macs_and_params_are_those_torchvision_prints(name: str) -> None:
    """`_ops` is in billions of multiply-adds, rounded to a thousandth; our entry's own are recounted elsewhere."""
    entry = CATALOGUE[name]
    for weights in torchvision.models.get_model_weights(name):
        meta, size = weights.meta, weights.transforms().crop_size[0]
        macs = entry.macs
        if entry.input_size != (3, size, size):
            macs = describe_network(build_network(name, device="meta"), (3, size, size)).macs
        assert macs / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
        num_auxiliary = entry.num_auxiliary_params if name in OPTIONS and name != "googlenet" else 0
        assert entry.num_params + num_auxiliary == meta["num_params"]


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_0",
        "resnet18",
        "googlenet",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
    ],
)
def test_same_seed_draws_the_same_weights(name: str) -> None:
    """Initialisation is torchvision's, number by number: the same draws in the same order."""
    torch.manual_seed(0)
    options = {**OPTIONS[name], "init_weights": True} if name in OPTIONS else {}
    oracle = torchvision.models.get_model(name, **options).state_dict()
    ours = build_network(name, seed=0).state_dict()
    assert list(ours) == list(oracle)
    assert all(torch.equal(ours[key], oracle[key]) for key in ours)


def test_training_mode_gives_the_same_gradients() -> None:
    oracle = theirs("resnet18", num_classes=5)
    network = with_weights_of(oracle, "resnet18", num_classes=5)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for either in (network, oracle):
        nn.functional.cross_entropy(either(images), torch.tensor([0, 3, 1, 4])).backward()
    for (name, ours), other in zip(network.named_parameters(), oracle.parameters(), strict=True):
        assert ours.grad is not None
        assert other.grad is not None
        # the last stage normalises over four pixels: rounding grows on its way down
        tolerance = 1e-3 * other.grad.abs().max().item()
        torch.testing.assert_close(ours.grad, other.grad, rtol=1e-3, atol=tolerance, msg=name)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, oracle.get_buffer(name), msg=name)


def without_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def test_auxiliary_heads_of_googlenet_answer_as_torchvisions() -> None:
    oracle = without_dropout(theirs("googlenet", num_classes=5))
    network = without_dropout(with_weights_of(oracle, "googlenet", num_classes=5))
    images = torch.randn(2, 3, 64, 50, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        answer, expected = network(images), oracle(images)
    assert answer.weight == 0.3
    torch.testing.assert_close(answer.logits, expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answer.auxiliary[0], expected.aux_logits1, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answer.auxiliary[1], expected.aux_logits2, rtol=1e-4, atol=1e-4)


def test_auxiliary_head_of_inception_v3_answers_as_torchvisions() -> None:
    """The head alone, at the size that it gets from 299x299 images and more."""
    oracle = theirs("inception_v3", num_classes=5)
    network = with_weights_of(oracle, "inception_v3", num_classes=5)
    maps = torch.randn(2, 768, 17, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network.AuxLogits(maps), oracle.AuxLogits(maps), rtol=1e-4, atol=1e-4)


def test_resnet18_cifar_is_resnet18_but_for_its_stem() -> None:
    oracle = theirs("resnet18", num_classes=10)
    oracle.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    oracle.maxpool = nn.Identity()
    network = build_network("resnet18_cifar", seed=0).eval()
    network.load_state_dict(oracle.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network(images), oracle.eval()(images), rtol=1e-5, atol=1e-4)


def test_pad_shortcut_is_a_projection_with_fixed_weights() -> None:
    """Option A equals option B with a 1x1 filter that copies each map, and no normalisation."""
    padded = cifar_resnet(CifarResNetConfig(depths=(1, 1), widths=(4, 10))).eval()
    shortcut = padded.get_submodule("layer2.0.downsample")
    projection = nn.Conv2d(4, 10, 1, stride=2, bias=False)
    nn.init.zeros_(projection.weight)
    with torch.no_grad():
        for channel in range(4):
            projection.weight[channel + 3, channel] = 1
    maps = torch.randn(2, 4, 7, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(shortcut(maps), projection(maps))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] if CATALOGUE[name].macs > LARGE_MACS else [])
        for name in CATALOGUE
        if name not in (*NAMES, *DEEP)
    ],
)
def test_macs_are_half_of_what_torch_counts(name: str) -> None:
    """Where torchvision prints none. That they are what we count is a promise of every entry, held with the others."""
    entry = CATALOGUE[name]
    network = build_network(name, device="meta").eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *entry.input_size, device="meta"))
    assert counter.get_total_flops() == entry.macs * 2


@pytest.mark.parametrize("name", ["swin_t", "shufflenet_v2_x1_0", "densenet121"])
def test_macs_of_other_peoples_networks(name: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 96, 96, device="meta"))
    assert describe_network(network, (3, 96, 96)).macs * 2 == counter.get_total_flops()


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_are_described_as_torchvision_does(name: str) -> None:
    """But for files of features alone, which torchvision has without accuracies: they make no classifier."""
    every = torchvision.models.get_model_weights(name)
    whole = [each for each in every if not math.isnan(each.meta["_metrics"]["ImageNet-1K"]["acc@1"])]
    for ours, others in zip(CATALOGUE[name].weights, whole, strict=True):
        assert ours.url == others.url
        assert ours.size_bytes == pytest.approx(others.meta["_file_size"] * 2**20, abs=0.001 * 2**20)
        assert ours.class_names() == tuple(others.meta["categories"])
        accuracies = others.meta["_metrics"]["ImageNet-1K"]
        assert f"{accuracies['acc@1']:.2f} % top-1 and {accuracies['acc@5']:.2f} % top-5" in ours.source
        transforms = others.transforms()
        preprocessing = ours.preprocessing
        assert [preprocessing.resize_size] == transforms.resize_size
        assert [preprocessing.crop_size[0]] == transforms.crop_size
        if name in TRANSFORMED_INSIDE:
            assert preprocessing.mean == preprocessing.std == (0.5, 0.5, 0.5)
        else:
            assert (list(preprocessing.mean), list(preprocessing.std)) == (transforms.mean, transforms.std)
        assert preprocessing.interpolation == transforms.interpolation.value


@pytest.mark.parametrize("name", [name for name in TRANSFORMED_INSIDE if name in NAMES])
def test_preprocessing_is_theirs_and_what_their_network_does_to_it(name: str) -> None:
    with torch.device("meta"):
        oracle = torchvision.models.get_model(name, transform_input=True, **OPTIONS[name])
    (others,) = torchvision.models.get_model_weights(name)
    transforms = others.transforms()
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 1, 1)[None]  # (1, 3, 1, 256): every value of each channel
    normalised = F.normalize(pixels / 255, transforms.mean, transforms.std)
    ours = CATALOGUE[name].weights[0].preprocessing.normalize(pixels)
    torch.testing.assert_close(ours, oracle._transform_input(normalised), rtol=0, atol=1e-6)  # float32 rounding near 1


def test_class_names_are_a_thousand_and_all_different() -> None:
    names = imagenet_class_names()
    assert len(set(names)) == 1000
    assert (names[134], names[517], names[638], names[639]) == ("crane bird", "crane", "maillot", "maillot tank suit")
