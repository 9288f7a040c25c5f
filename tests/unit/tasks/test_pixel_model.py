"""One module from pixels to outputs: what it computes, and its gradient by the pixels."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import striate
from striate.data.mean_image import encode_mean_image
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.evaluation.views import probabilities_at
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.model import Model
from striate.tasks.pixel_model import PixelModel

PLAIN = Preprocessing(3, 8, (6, 5), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
MEAN_IMAGE = encode_mean_image(np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8))
PREPARATIONS = {
    "plain": PLAIN,
    "bgr": dataclasses.replace(PLAIN, channel_order="BGR", scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)),
    "mean image": dataclasses.replace(PLAIN, mean=(0.0, 0.0, 0.0), mean_image=MEAN_IMAGE),
}


def smooth_network(num_outputs: int = 4) -> nn.Module:
    """Without kinks, so that finite differences are exact to their order."""
    layers = (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Tanh(), nn.Flatten(), nn.Linear(60, num_outputs))
    return nn.Sequential(*layers).eval()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (3, 3, 6, 5), dtype=torch.uint8)


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_it_computes_what_the_model_does(preparation: str, pixels: Tensor) -> None:
    network, preprocessing = smooth_network(), PREPARATIONS[preparation]
    logits = PixelModel(network, preprocessing)(pixels)
    torch.testing.assert_close(logits, network(preprocessing.normalize(pixels)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(PixelModel(network, preprocessing)(pixels.float() / 255), logits, rtol=1e-5, atol=1e-5)


def test_its_softmax_is_the_probability_of_the_model(pixels: Tensor) -> None:
    network = smooth_network()
    model = Model(network, class_names=("a", "b", "c", "d"), preprocessing=PLAIN, temperature=2.5)
    logits = PixelModel(network, PLAIN, temperature=2.5)(pixels)
    torch.testing.assert_close(logits.softmax(dim=1), model.probabilities(pixels))


@pytest.mark.parametrize("preparation", PREPARATIONS)
@pytest.mark.parametrize("num_outputs", [1, 4])
def test_the_gradient_by_the_pixels_is_that_of_finite_differences(preparation: str, num_outputs: int) -> None:
    """In float64, where the error of a central difference is below 1e-8; every pixel of two small images."""
    model = PixelModel(smooth_network(num_outputs), PREPARATIONS[preparation], temperature=1.7).double()
    images = torch.rand(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)

    def score(given: Tensor) -> Tensor:
        outputs = class_scores(model, given)
        return outputs[:, 1].sum()

    (gradient,) = torch.autograd.grad(score(images), images)
    step, found = 1e-5, torch.zeros_like(gradient)
    with torch.no_grad():
        for place in np.ndindex(*images.shape):
            moved = images.detach().clone()
            moved[place] += step
            above = score(moved)
            moved[place] -= 2 * step
            found[place] = (above - score(moved)) / (2 * step)
    torch.testing.assert_close(gradient, found, rtol=1e-6, atol=1e-8)


def class_scores(model: PixelModel, images: Tensor) -> Tensor:
    """The model's logits, computed without its rounding to float32, which would drown the differences."""
    outputs = model.network(model.normalize(images * 255)) / model.temperature
    rounded = model(images)
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    torch.testing.assert_close(rounded.diff(dim=1).double(), outputs.diff(dim=1), rtol=1e-5, atol=1e-5)
    return outputs


def test_the_gradient_comes_through_the_module_itself(pixels: Tensor) -> None:
    images = (pixels.float() / 255).requires_grad_()
    network = smooth_network()
    (gradient,) = torch.autograd.grad(PixelModel(network, PLAIN)(images)[:, 0].sum(), images)
    normal = PLAIN.normalize(pixels).requires_grad_()
    (by_input,) = torch.autograd.grad(network(normal)[:, 0].sum(), normal)
    by_hand = by_input / torch.tensor(PLAIN.std).view(1, 3, 1, 1)
    torch.testing.assert_close(gradient, by_hand, rtol=1e-4, atol=1e-6)
    assert all(param.grad is None for param in network.parameters())


def test_what_is_no_classifiers_output_stays_as_it_is(pixels: Tensor) -> None:
    network = nn.Conv2d(3, 2, 3)
    assert PixelModel(network, PLAIN, temperature=2.0)(pixels).shape == (3, 2, 4, 3)


def test_auxiliary_heads_are_left_out(pixels: Tensor) -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> WithAuxiliary:
            logits = images.mean(dim=(2, 3))
            return WithAuxiliary(logits, (logits * 2,), 0.3)

    logits = PixelModel(Two(), PLAIN)(pixels)
    assert torch.equal(logits, PLAIN.normalize(pixels).mean(dim=(2, 3))) or logits.shape == (3, 3)


def test_it_moves_with_its_numbers_and_leaves_the_network_alone() -> None:
    network = striate.build_network("lenet5", seed=0)
    model = PixelModel(network, Preprocessing(1, 28, (28, 28), mean=(0.1,), std=(0.3,))).to(torch.float64)
    assert {name for name, _ in model.named_buffers()} == {"normalize.gain", "normalize.offset"}
    assert model.network is network
    assert model.normalize.gain.dtype == torch.float64


def test_images_of_another_shape_are_refused(pixels: Tensor) -> None:
    with pytest.raises(InputError, match=r"expected images \(N, 3, H, W\) but got \(3, 1, 6, 5\)"):
        PixelModel(smooth_network(), PLAIN)(pixels[:, :1])


class Viewing(nn.Module):
    """A network from Python that counts on PyTorch's plain layout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(90, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.view(len(images), -1))


@pytest.mark.parametrize("as_floats", [False, True])
def test_a_network_from_python_may_use_views(pixels: Tensor, as_floats: bool) -> None:
    model = Model(Viewing(), class_names=("a", "b", "c", "d"), preprocessing=PLAIN, temperature=2.0)
    expected = model.network(PLAIN.normalize(pixels)) / 2.0
    as_images_come = pixels.to(memory_format=torch.channels_last)
    given = as_images_come / 255 if as_floats else as_images_come
    torch.testing.assert_close(model.pixel_model(given), expected)
    averaged = probabilities_at(model, as_images_come.permute(0, 2, 3, 1).numpy(), PLAIN)
    torch.testing.assert_close(torch.from_numpy(averaged), expected.softmax(dim=1))


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_pixels_are_prepared_as_in_training_bit_for_bit(preparation: str, pixels: Tensor) -> None:
    network, preprocessing = smooth_network(), PREPARATIONS[preparation]
    model = Model(network, class_names=("a", "b", "c", "d"), preprocessing=preprocessing, temperature=1.7)
    assert torch.equal(model.pixel_model.inputs(pixels), preprocessing.normalize(pixels))
    assert torch.equal(model.pixel_model(pixels).softmax(dim=1), model.probabilities(pixels))
