"""The whitening layer and the first weights of airbench94."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.families.airbench import TINY_VARIANCE, Airbench, AirbenchConfig, whiten_from_images


def smooth_images(num_images: int, channels: int = 3) -> torch.Tensor:
    """Images whose neighbouring pixels and channels resemble each other, as photographs' do."""
    noise = torch.randn(num_images, channels, 34, 34, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(noise, 3, stride=1)
    return smooth + 0.5 * smooth.mean(dim=1, keepdim=True)


def test_whitened_responses_are_uncorrelated_with_variance_one() -> None:
    network = Airbench(AirbenchConfig())
    images = smooth_images(200)
    whiten_from_images(network, images)
    with torch.inference_mode():
        responses = network.whiten(images).transpose(0, 1).flatten(1)[:12].double()
    moments = responses @ responses.T / responses.shape[1]
    variances = moments.diagonal()
    assert (moments - torch.diag(variances)).abs().max() < 1e-4  # float32 filters
    assert (variances < 1).all()
    raw = (1 / network.whiten.weight[:12].double().square().sum(dim=(1, 2, 3))) - TINY_VARIANCE
    torch.testing.assert_close(variances, raw / (raw + TINY_VARIANCE), rtol=1e-3, atol=1e-4)


def test_second_half_is_the_negative_of_the_first_and_variances_fall() -> None:
    network = Airbench(AirbenchConfig())
    whiten_from_images(network, smooth_images(50))
    weight = network.whiten.weight
    assert weight.shape == (24, 3, 2, 2)
    assert torch.equal(weight[12:], -weight[:12])
    norms = weight[:12].square().sum(dim=(1, 2, 3))
    assert (norms.diff() > 0).all()  # large variance, small filter


def test_whitening_is_the_same_for_shuffled_images() -> None:
    """Signs are chosen by the filters themselves, not by the eigensolver."""
    images = smooth_images(40)
    first, second = Airbench(AirbenchConfig()), Airbench(AirbenchConfig())
    whiten_from_images(first, images)
    whiten_from_images(second, images.flip(0))
    torch.testing.assert_close(first.whiten.weight, second.whiten.weight, rtol=1e-4, atol=1e-5)


def test_whitening_filters_stay_frozen_and_bias_trains() -> None:
    network = build_network("airbench94_cifar", seed=0)
    images = smooth_images(8)
    whiten_from_images(network, images)
    network(images[:, :, :32, :32]).square().sum().backward()
    frozen = [name for name, param in network.named_parameters() if not param.requires_grad]
    assert frozen == ["whiten.weight", *(f"block{i}.norm{j}.weight" for i in (1, 2, 3) for j in (1, 2))]
    assert network.get_parameter("whiten.weight").grad is None
    assert network.get_parameter("whiten.bias").grad is not None


def test_convolutions_hand_their_channels_on_at_first() -> None:
    network = build_network("airbench94_cifar", seed=0)
    maps = torch.randn(1, 64, 5, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network.get_submodule("block2.conv1")(maps)[:, :64], maps)
    maps = torch.randn(1, 24, 5, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network.get_submodule("block1.conv1")(maps)[:, :24], maps)


def test_block_width_below_its_input_still_starts_as_identity() -> None:
    network = Airbench(AirbenchConfig(widths=(8, 4, 4)))
    maps = torch.randn(1, 24, 5, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network.block1.conv1(maps), maps[:, :8])


def test_logits_are_a_ninth_of_the_linear_layer() -> None:
    network = build_network("airbench94_cifar", seed=0).eval()
    seen: list[torch.Tensor] = []
    network.get_submodule("head").register_forward_hook(lambda _module, _args, output: seen.append(output))
    logits = network(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(logits, seen[0] / 9)


def test_grey_images_are_whitened_into_eight_maps() -> None:
    network = build_network("airbench94_cifar", in_channels=1)
    whiten_from_images(network, smooth_images(20, channels=1))
    assert network.get_parameter("whiten.weight").shape == (8, 1, 2, 2)


def test_bad_requests_are_refused() -> None:
    network = build_network("airbench94_cifar")
    before = network.get_parameter("whiten.weight").clone()
    with pytest.raises(InputError, match="only airbench networks are whitened from images but this is a LeNet5"):
        whiten_from_images(build_network("lenet5"), torch.zeros(1, 1, 32, 32))
    with pytest.raises(InputError, match=r"needs normalised images \(N, 3, H, W\) but got \(2, 1, 32, 32\)"):
        whiten_from_images(network, torch.zeros(2, 1, 32, 32))
    with pytest.raises(InputError, match=r"but got \(0, 3, 32, 32\)"):
        whiten_from_images(network, torch.zeros(0, 3, 32, 32))
    with pytest.raises(InputError, match="needs finite images"):
        whiten_from_images(network, torch.full((2, 3, 32, 32), float("nan")))
    with pytest.raises(InputError, match=r"widths must be three numbers of at least 1 but are \(64, 0, 1\)"):
        AirbenchConfig(widths=(64, 0, 1))
    assert torch.equal(before, network.get_parameter("whiten.weight"))
