"""VGG: which layers stand where, first weights, and the checks of the configurations."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.families.vgg import VGG, A, C, CifarVGG, CifarVGGConfig, D, VGGConfig, make_features

SMALL = (2, 3, 3, 4, 4)


def kinds(layers: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_norms_stand_where_the_configuration_says() -> None:
    plain = ["Conv2d", "ReLU", "MaxPool2d"]
    batch = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds(make_features(3, A[:2], SMALL[:2], "none")) == plain + plain
    assert kinds(make_features(3, A[:2], SMALL[:2], "batch")) == batch + batch
    assert kinds(make_features(3, A[:2], SMALL[:2], "response")) == [
        "Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d", *plain
    ]  # fmt: skip


def test_configuration_c_ends_three_stages_with_1x1() -> None:
    sizes = [layer.kernel_size[0] for layer in make_features(3, C, SMALL, "none") if isinstance(layer, nn.Conv2d)]
    assert sizes == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]


def test_one_convolution_on_paper() -> None:
    """A filter that adds up its 3x3 neighbourhood, rectified, then the largest of 2x2."""
    features = make_features(1, ((3,),), (1,), "none")
    nn.init.ones_(features[0].weight)
    nn.init.constant_(features[0].bias, -10.0)
    images = torch.tensor([[1.0, 2.0], [3.0, 5.0]])[None, None]
    assert features(images).flatten().tolist() == [1.0]  # every place sees all four, 11 in sum


def test_fewer_stages_take_smaller_images() -> None:
    network = CifarVGG(CifarVGGConfig(filters=D[:2], widths=(2, 3))).eval()
    assert network(torch.zeros(1, 3, 4, 4)).shape == (1, 10)
    with pytest.raises(InputError, match=r"this VGG needs images of at least 4x4 pixels but got 4x3"):
        network(torch.zeros(1, 3, 4, 3))


def test_first_weights() -> None:
    """Convolutions by fan out: 9 * 40 outputs of each input, so a deviation of sqrt(2 / 360)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = VGG(VGGConfig(filters=A[:2], widths=(40, 40), hidden_width=20))
    convolution, hidden = network.features[3], network.classifier[0]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(hidden, nn.Linear)
    torch.testing.assert_close(convolution.weight.std().item(), (2 / 360) ** 0.5, rtol=0.05, atol=0)
    torch.testing.assert_close(hidden.weight.std().item(), 0.01, rtol=0.05, atol=0)
    biases = [module.bias for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert not any(bias.any() for bias in biases if bias is not None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGGConfig(filters=A[:4]), r"filters .* and widths \(64, 128, 256, 512, 512\) must pair up"),
        (lambda: VGGConfig(widths=(0, 1, 1, 1, 1)), "must pair up, each width at least 1"),
        (lambda: CifarVGGConfig(filters=(), widths=()), r"filters \(\) and widths \(\) must pair up"),
        (lambda: CifarVGGConfig(filters=((2,),), widths=(4,)), r"filters of odd sizes but filters are \(\(2,\),\)"),
        (lambda: VGGConfig(filters=((3,), ()), widths=(4, 4)), "every stage needs filters of odd sizes"),
        (lambda: VGGConfig(norm="layer"), "norm must be 'none', 'response' or 'batch' but is 'layer'"),
        (lambda: VGGConfig(hidden_width=0), "hidden_width must be at least 1 but is 0"),
        (lambda: VGGConfig(dropout=1.0), "dropout must be at least 0 and below 1 but is 1.0"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
