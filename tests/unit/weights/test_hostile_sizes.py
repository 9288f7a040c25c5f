"""Files from strangers that ask for more than they hold: refused before memory or time is taken."""

import base64
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from striate.data.mean_image import decode_mean_image, encode_mean_image
from striate.data.preprocessing import MAX_RESIZE_PX, Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.weights.model_file import ModelFile, read_model_file
from striate.weights.tensor_table import parse_tensor

# the deepest and widest that a setting may ask for, by network: each would be built for minutes
DEEP = [
    ("highway_mnist", {"num_layers": 1_000_000}),
    ("nasnet_a_mobile", {"num_cells": 1_000_000}),
    ("efficientnet_b0", {"depth": 1e6}),
    ("resnet18", {"depths": (4096,) * 4}),
    ("resnet50", {"depths": (4096,) * 4}),
    ("densenet121", {"depths": (4096,) * 4}),
    ("fractalnet20_cifar", {"num_columns": 40}),
    ("lenet_300_100", {"widths": (1,) * 500_000}),
]


def described(network: str, settings: dict) -> ModelFile:
    config = CATALOGUE[network].config
    counts = {"in_channels": config.in_channels, "num_classes": config.num_classes}
    names = tuple(map(str, range(max(2, config.num_classes))))
    channels = config.in_channels
    preprocessing = Preprocessing(channels, 32, (32, 32), (0.0,) * channels, (1.0,) * channels)
    return ModelFile(network, counts | settings, names, preprocessing)


@pytest.mark.parametrize(("network", "settings"), DEEP, ids=[network for network, _ in DEEP])
def test_networks_of_more_parts_than_a_file_holds_are_given_up(network, settings):
    """A count, not a clock: no more modules have been made than the bound allows."""
    try:
        about = described(network, settings)
    except ModelFileError:
        return  # refused for the settings alone
    with pytest.raises(
        ModelFileError, match=r"its settings make a network of more than [\d,]+ (tensors|modules) but it holds 10"
    ):
        about.build_network("meta", most_tensors=10)


@pytest.mark.parametrize(
    "network", ["resnet50", "googlenet", "densenet121", "nasnet_a_mobile", "neocognitron", "efficientnet_b7"]
)
def test_honest_networks_fit_their_bound(network):
    num_tensors = len(build_network(network, device="meta").state_dict())
    described(network, {}).build_network("meta", most_tensors=num_tensors)


def test_the_bound_is_this_thread_s_and_ends():
    about = described("resnet50", {"depths": (400, 4, 6, 3)})
    with pytest.raises(ModelFileError, match=r"more than 1,000 tensors but it holds 0$"):
        about.build_network("meta", most_tensors=0)
    about.build_network("meta")


@pytest.mark.parametrize("shape", [[1] * 1_000_000, [1] * 17, [2**63]])
def test_shapes_of_a_million_dimensions(shape):
    with pytest.raises(ModelFileError, match=r"dimensions, over the limit of 16|is not dtype, shape and data_offsets"):
        parse_tensor("weight", {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]})


@pytest.mark.parametrize("size", [MAX_RESIZE_PX + 1, 100_000, 1_000_000, 10**30])
def test_sizes_of_images_are_bounded(size):
    with pytest.raises(InputError, match=rf"^resize_size {size} is over the limit of {MAX_RESIZE_PX} pixels$"):
        Preprocessing(3, size, (size, size), (0.0,) * 3, (1.0,) * 3)
    assert Preprocessing(1, MAX_RESIZE_PX, (MAX_RESIZE_PX,) * 2, (0.0,), (1.0,)).resize_size == MAX_RESIZE_PX


def png(height: int, width: int, rows: bytes = b"") -> str:
    """A PNG in base64 that claims a size, whatever its rows hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    ).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (png(100_000, 100_000), "100000x100000 pixels"),
        (png(8, 8), "no PNG in base64"),
        ("A" * 1_000_000, "1,000,000 characters long, which no PNG of that size needs"),
        ("", "no PNG in base64"), ("%", "no PNG in base64"), (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "no "
            "PNG in base64"),
    ],
)  # fmt: skip
def test_mean_images_are_looked_at_before_they_are_unpacked(text, message):
    with pytest.raises(InputError, match=f"^the mean image must have 8x8 pixels and 3 channels but is {message}$"):
        decode_mean_image(text, (8, 8), 3)


def test_a_mean_image_of_noise_is_no_longer_than_it_may_be():
    for size in ((1, 1), (8, 8), (224, 224)):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        assert np.array_equal(decode_mean_image(encode_mean_image(pixels), size, 3), pixels)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_no_model_file(tmp_path: Path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="it is a pipe, not a regular file"):
        read_model_file(tmp_path / "model.safetensors")
