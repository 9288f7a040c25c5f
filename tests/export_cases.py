"""Small models that the tests of exports share."""

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.networks.catalogue import CATALOGUE, build_network
from striate.tasks.model import Model


def small_model(layers: nn.Module, *, preprocessing: Preprocessing | None = None, num_outputs: int = 3) -> Model:
    """A convolution, `layers` (which keep N and leave 4 maps), the mean of each map and a linear layer."""
    prepared = preprocessing or Preprocessing(3, 20, (16, 16), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    channels = prepared.channels
    network = nn.Sequential(
        nn.Conv2d(channels, 4, 3), layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_outputs)
    )
    names = tuple(f"class {k}" for k in range(max(2, num_outputs)))
    return Model(network, network_name="small", class_names=names, preprocessing=prepared)


def catalogue_model(name: str, size: tuple[int, int], *, num_classes: int = 3) -> Model:
    """A network of the catalogue with fresh weights, for pixels of `size` without resizing."""
    channels = CATALOGUE[name].input_size[0]
    preprocessing = Preprocessing(channels, max(size), size, (0.5,) * channels, (0.25,) * channels)
    names = tuple(f"class {k}" for k in range(num_classes))
    return Model(
        build_network(name, num_classes=num_classes, seed=0),
        network_name=name,
        class_names=names,
        preprocessing=preprocessing,
    )


def noise(*shape: int) -> np.ndarray:
    """Pixels uint8, the same for the same shape."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def expected(model: Model, images: np.ndarray) -> np.ndarray:
    """What the model says of images (N, H, W, C), one after the other as `predict` prepares them."""
    pixels = np.stack([model.preprocessing.to_pixels(image) for image in images])
    return model.probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()


class SingularValues(nn.Module):
    """An operator that neither ONNX nor OpenVINO has."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * torch.linalg.svdvals(maps)[..., :1, None]
