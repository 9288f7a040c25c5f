"""Parameters of the catalogue's networks as papers and their makers print them."""

import pytest

from striate.inspection.counting import count_params
from striate.networks.catalogue import CATALOGUE, build_network

PUBLISHED = [
    ("lenet_300_100", 266_610, "by hand: 785*300 + 301*100 + 101*10; arXiv:1510.00149, Table 1: 266K"),
    ("lenet5", 61_706, "by hand: 26*6 + 151*16 + 401*120 + 121*84 + 85*10; the paper, section II.B: about 60,000"),
    ("alexnet", 61_100_840, "torchvision, AlexNet_Weights.IMAGENET1K_V1"),
    ("alexnet_two_towers", 60_965_224, "by hand below; the paper's abstract: 60 million"),
    ("alexnet_small", 23_272_266, "by hand, layer by layer below; it has no paper"),
    ("squeezenet1_0", 1_248_424, "torchvision, SqueezeNet1_0_Weights; arXiv:1602.07360, Table 1: 1,248,424"),
    ("squeezenet1_1", 1_235_496, "torchvision, SqueezeNet1_1_Weights"),
    ("resnet18", 11_689_512, "torchvision, ResNet18_Weights"),
    ("resnet34", 21_797_672, "torchvision, ResNet34_Weights"),
    ("resnet50", 25_557_032, "torchvision, ResNet50_Weights"),
    ("resnet20_cifar", 269_722, "arXiv:1512.03385, Table 6: 0.27M"),
    ("resnet18_cifar", 11_173_962, "resnet18 less 9,408 + 513,000 and plus 1,728 + 5,130 of stem and head"),
    ("airbench94_cifar", 1_972_792, "arXiv:2404.00498, section 3: 1.97 million"),
]


@pytest.mark.parametrize(("name", "num_params", "source"), PUBLISHED)
def test_num_params_as_published(name: str, num_params: int, source: str) -> None:
    assert count_params(build_network(name, device="meta")) == num_params, source


def test_every_network_has_a_published_count() -> None:
    assert {name for name, _, _ in PUBLISHED} == set(CATALOGUE)


def test_two_towers_layer_by_layer() -> None:
    """Filters see 3, 48, 256, 192 and 192 maps (section 3.5), and 6x6x256 features reach the first hidden layer."""
    network = build_network("alexnet_two_towers", device="meta")
    by_layer = [count_params(layer) for layer in (*network.features, *network.classifier) if count_params(layer)]
    assert by_layer == [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]


def test_small_alexnet_layer_by_layer() -> None:
    """Filters 3x3 over 3, 64, 192, 384 and 256 maps; 2x2x256 = 1024 features reach the first hidden layer."""
    network = build_network("alexnet_small", device="meta")
    by_layer = [count_params(layer) for layer in (*network.features, *network.classifier) if count_params(layer)]
    assert by_layer == [
        (27 + 1) * 64, (64 * 9 + 1) * 192, (192 * 9 + 1) * 384, (384 * 9 + 1) * 256, (256 * 9 + 1) * 256,
        1025 * 4096, 4097 * 4096, 4097 * 10,
    ]  # fmt: skip
