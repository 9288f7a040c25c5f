"""Parameters of the catalogue's networks as papers and their makers print them."""

import pytest

from published.gathering import rows
from striate.inspection.counting import count_params
from striate.networks.catalogue import CATALOGUE, build_network


@pytest.mark.parametrize(("name", "num_params", "source"), rows("PARAMS"))
def test_num_params_as_published(name: str, num_params: int, source: str) -> None:
    """Without what auxiliary heads have of their own. That an entry's number is its network's, the contract holds."""
    assert CATALOGUE[name].num_params == num_params, source


def test_every_network_has_one_published_count() -> None:
    assert sorted(name for name, _, _ in rows("PARAMS")) == sorted(CATALOGUE)


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
