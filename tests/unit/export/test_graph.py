"""The module that exporters follow answers as the model, and leaves the model alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from export_cases import catalogue_model, expected, noise, small_model
from striate.data.mean_image import encode_mean_image
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.export.graph import PixelsToProbabilities

PREPARATIONS = {
    "rgb": Preprocessing(3, 20, (16, 16), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)),
    "bgr": Preprocessing(3, 20, (16, 18), (104.0, 117.0, 123.0), (1.0,) * 3, channel_order="BGR", scale=1.0),
    "mean image": Preprocessing(
        1, 16, (16, 16), (0.0,), (0.5,), mean_image=encode_mean_image(np.arange(256, dtype=np.uint8).reshape(16, 16, 1))
    ),
    "four channels": Preprocessing(4, 20, (16, 16), (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0), resize="stretch"),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_answers_as_the_model(name):
    preprocessing = PREPARATIONS[name]
    model = small_model(nn.BatchNorm2d(4), preprocessing=preprocessing)
    graph = PixelsToProbabilities(model, resize=False)
    images = noise(3, *preprocessing.crop_size, preprocessing.channels)
    answered = graph(torch.from_numpy(images))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    torch.testing.assert_close(answered, model.probabilities(pixels), atol=1e-7, rtol=0)
    assert answered.dtype == torch.float32


def test_resizes_inside():
    model = small_model(nn.ReLU())
    images = noise(2, 41, 29, 3)
    answered = PixelsToProbabilities(model, resize=True)(torch.from_numpy(images))
    np.testing.assert_allclose(answered, expected(model, images), atol=1e-3)


def test_a_single_output_tells_two_classes_apart():
    model = small_model(nn.ReLU(), num_outputs=1)
    images = noise(2, 16, 16, 3)
    answered = PixelsToProbabilities(model, resize=False)(torch.from_numpy(images))
    assert answered.shape == (2, 2)
    np.testing.assert_allclose(answered, expected_of_pixels(model, images), atol=1e-7)


def test_auxiliary_heads_are_left_out():
    model = catalogue_model("googlenet", (32, 32))
    model.network.train()
    answered = PixelsToProbabilities(model, resize=False)(torch.from_numpy(noise(2, 32, 32, 3)))
    assert answered.shape == (2, 3)


def test_the_model_stays_as_it_is():
    model = small_model(nn.BatchNorm2d(4))
    model.network.train()
    model.network[1].eval()
    before = copy.deepcopy(model.network.state_dict())
    PixelsToProbabilities(model, resize=True)(torch.from_numpy(noise(2, 30, 30, 3)))
    assert [module.training for module in model.network] == [True, False, True, True, True]
    assert all(param.requires_grad for param in model.network.parameters())
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=0, rtol=0)


def test_more_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, images, sizes):
            return images.mean(dim=(1, 2)) * sizes

    model = small_model(nn.ReLU())
    model = type(model)(Two(), class_names=model.class_names, preprocessing=model.preprocessing, network_name="two")
    with pytest.raises(InputError, match=r"two takes 2 inputs \(images, sizes\) but an exported model takes one batch"):
        PixelsToProbabilities(model, resize=False)


def expected_of_pixels(model, images):
    return model.probabilities(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
