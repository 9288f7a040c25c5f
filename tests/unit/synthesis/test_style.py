"""Gram matrices, style transfer and textures: against plain references written with NumPy, and on a small network."""

import numpy as np
import pytest
import torch

from striate.errors import InputError
from striate.synthesis.gram import content_loss, gram_matrix, relative_error, style_loss
from striate.synthesis.pictures import to_images
from striate.synthesis.pixel_search import search_pixels
from striate.synthesis.style import StyleConfig, StyleLoss, transfer_style, with_colours_of
from striate.synthesis.style_layers import StyleLayers, choose_layers
from striate.synthesis.texture import TextureConfig, scattered, synthesize_texture
from striate.synthesis.watching import UNWATCHED, Watch
from synthesis_cases import assert_same_state, state_of

LAYERS = StyleLayers(("conv1", "conv2"), ("conv2",))


def picture(seed: int, size=(18, 22)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    shift = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = np.stack(
        [np.sin(rows / 2 + shift[0]), np.cos(columns + shift[1]), np.sin(rows + columns + shift[2])], axis=2
    )
    return (127 + 100 * waves).astype(np.uint8)


def plain_gram(features: np.ndarray) -> np.ndarray:
    """Equation 3 of arXiv:1508.06576, one product at a time: (C, H, W) -> (C, C)."""
    channels = len(features)
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            gram[i, j] = sum(a * b for a, b in zip(features[i].ravel(), features[j].ravel(), strict=True))
    return gram


def test_gram_matrix_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    assert gram_matrix(features).tolist() == [[[2.5, 0.5], [0.5, 5.0]]]  # (5, 1; 1, 10) over two places


def test_losses_are_the_papers():
    found, wanted = (torch.randn(1, 4, 3, 5, dtype=torch.float64) for _ in range(2))
    grams = [plain_gram(each[0].numpy()) for each in (found, wanted)]
    np.testing.assert_allclose(gram_matrix(found)[0].numpy() * 15, grams[0])
    equation_4 = ((grams[0] - grams[1]) ** 2).sum() / (4 * 4**2 * 15**2)
    assert style_loss(found, wanted).item() == pytest.approx(equation_4)
    equation_1 = ((found.numpy() - wanted.numpy()) ** 2).sum() / 2
    assert content_loss(found, wanted).item() == pytest.approx(equation_1)
    assert relative_error(torch.zeros(3), torch.ones(3)).item() == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_by_finite_differences(layout):
    features = torch.randn(1, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    wanted = torch.randn(1, 3, 5, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda found: style_loss(found, wanted), (features,))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sixteen_bits_change_little(layout):
    features = torch.rand(1, 6, 20, 20).contiguous(memory_format=layout).requires_grad_()
    grams = [gram_matrix(features, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    torch.testing.assert_close(grams[1], grams[0], rtol=5e-3, atol=0)
    exact, rounded = (torch.autograd.grad(gram.square().sum(), features)[0] for gram in grams)
    assert rounded.dtype == torch.float32
    assert ((rounded - exact).norm() / exact.norm()).item() < 5e-3


def test_the_whole_loss_is_the_plain_sum(small):
    small.eval()
    content, style, found = (to_images(picture(seed)) for seed in range(3))
    config = StyleConfig(style_weight=7.0, total_variation=0.0, precision="float32")
    loss = StyleLoss(small, content, [style, content], [0.75, 0.25], LAYERS, config)(found).item()

    def outputs(images):
        padded = np.pad(images[0].numpy(), ((0, 0), (8, 8), (8, 8)), mode="reflect")
        first = small.conv1(torch.tensor(padded)[None])
        return [each[0].detach().numpy() for each in (first, small.conv2(first.relu()))]

    expected = np.square(outputs(found)[1] - outputs(content)[1]).sum() / np.square(outputs(content)[1]).sum()
    for level in range(2):
        grams = [plain_gram(outputs(each)[level]) for each in (found, style, content)]
        wanted = 0.75 * grams[1] + 0.25 * grams[2]
        expected += 7 / 2 * np.square(grams[0] - wanted).sum() / np.square(wanted).sum()
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_style_transfer_lowers_the_loss_and_leaves_the_network_alone(small, method):
    before = state_of(small)
    config = StyleConfig(num_steps=30, method=method)
    result = transfer_style(small, picture(0), [picture(1, (30, 20)), picture(2)], config, layers=LAYERS)
    assert result.pixels.shape == (18, 22, 3)
    assert min(result.losses) < 0.5 * result.losses[0]
    assert_same_state(before, state_of(small))
    again = transfer_style(small, picture(0), [picture(1, (30, 20)), picture(2)], config, layers=LAYERS)
    assert np.array_equal(result.pixels, again.pixels)


def test_the_best_is_kept_and_a_picture_resumes():
    calls = []

    def loss_of(images):  # Adam overshoots this one
        calls.append(images.detach().clone())
        return (images - 0.5).abs().sum()

    result = search_pixels(
        torch.zeros(1, 3, 2, 2), loss_of, num_steps=6, method="adam", learning_rate=0.2, watch=UNWATCHED
    )
    best = int(np.argmin(result.losses))
    assert best < 5
    assert np.array_equal(result.pixels, (calls[best][0].permute(1, 2, 0) * 255).round().byte().numpy())


def test_stopping_keeps_what_there_is(small):
    watch = Watch(should_stop=lambda: True)
    result = transfer_style(small, picture(0), [picture(1)], StyleConfig(num_steps=9), layers=LAYERS, watch=watch)
    assert result.was_stopped
    assert len(result.losses) == 1
    assert np.array_equal(result.pixels, picture(0))
    begin = picture(5)
    again = transfer_style(
        small, picture(0), [picture(1)], StyleConfig(num_steps=9), layers=LAYERS, init=begin, watch=watch
    )
    assert np.array_equal(again.pixels, begin)


def test_colours_are_kept():
    found, colours = torch.rand(1, 3, 5, 5) * 0.2 + 0.4, torch.rand(1, 3, 5, 5) * 0.2 + 0.4
    mixed = with_colours_of(found, colours)
    luminance = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((mixed * luminance).sum(1), (found * luminance).sum(1), atol=1e-5, rtol=0)
    for first, second in ((0, 1), (1, 2)):  # differences between channels are those of the colours, up to luminance
        wanted = (colours - (colours * luminance).sum(1, keepdim=True))[:, [first, second]].diff(dim=1)
        torch.testing.assert_close(mixed[:, [first, second]].diff(dim=1), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(with_colours_of(found, found), found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_tileable", [True, False])
def test_a_texture_of_another_size_gets_the_samples_statistics(small, is_tileable):
    before = state_of(small)
    config = TextureConfig((20, 27), num_steps=40, is_tileable=is_tileable)
    result = synthesize_texture(small, picture(3), config, layers=LAYERS)
    assert result.pixels.shape == (20, 27, 3)
    assert min(result.losses) < 0.05 * result.losses[0]
    assert_same_state(before, state_of(small))


def test_scattered_pixels_are_the_samples():
    sample = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)
    made = scattered(sample, (30, 30), 0)
    assert {tuple(each) for each in made.reshape(-1, 3)} == {(1, 2, 3), (4, 5, 6)}
    assert 0.4 < (made[..., 0] == 1).mean() < 0.6


def test_layers_are_chosen_by_rule_for_any_network():
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 5, 3), torch.nn.ReLU()),
        *(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 2)),
    )
    assert choose_layers(network, (20, 20)) == StyleLayers(("1", "2", "4"), ("4",))
    assert choose_layers(network, (20, 20), style=("3",)) == StyleLayers(("3",), ("4",))
    with pytest.raises(InputError, match="no layer of the network has a spatial map"):
        choose_layers(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), (2, 2))


def test_wrong_requests_are_named(small):
    with pytest.raises(InputError, match="at least one style picture"):
        transfer_style(small, picture(0), [])
    with pytest.raises(InputError, match="2 style pictures need as many weights"):
        transfer_style(small, picture(0), [picture(1)] * 2, style_fractions=[1.0], layers=LAYERS)
    with pytest.raises(InputError, match="needs a spatial map"):
        transfer_style(small, picture(0), [picture(1)], layers=StyleLayers(("head",), ("conv1",)))
    with pytest.raises(InputError, match="lbfgs or adam but 'sgd'"):
        transfer_style(small, picture(0), [picture(1)], StyleConfig(method="sgd"), layers=LAYERS)
    with pytest.raises(InputError, match="starts from content or noise"):
        StyleConfig(start="grey")
    with pytest.raises(InputError, match="weights must be at least 0"):
        StyleConfig(style_weight=-1)
