"""Reads SqueezeNet 1.0 from the file published with deep compression (Han, Mao & Dally 2015, arXiv:1510.00149).

The file is the pruned and weight-shared network, before Huffman coding. Little-endian; 26 convolutions in network
order:

1. 26 x uint32: how many weights each convolution stores.
2. For each convolution: 256 x float32, its codebook; float32 biases, one a filter; one uint8 codebook index a stored
   weight; then gaps of 4 bits, two a byte, the low half first. The place of a stored weight in the flattened (out, in,
   height, width) array is the running sum of (gap + 1), minus 1. Every weight without a place is 0.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.errors import ModelFileError
from striate.networks.families.squeezenet import SqueezeNetConfig, squeezenet1_0

NETWORK = "squeezenet1_0"
CODEBOOK_SIZE = 256

CAFFE_PREPROCESSING = Preprocessing(
    channels=3,
    resize="stretch",
    resize_size=256,
    crop_size=(227, 227),
    channel_order="BGR",
    scale=1.0,
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 1.0, 1.0),
)
"""How the network's authors fed it: both sides to 256, the centre 227x227, blue first, 0..255 minus the mean pixel."""


def is_deep_compression_file(data: bytes) -> bool:
    """Whether the first bytes of a file count stored weights that SqueezeNet's 26 convolutions can hold."""
    limits = [weight.numel() for _, weight, _ in _convolutions()]
    if len(data) < 4 * len(limits):
        return False
    counts = np.frombuffer(data, "<u4", count=len(limits))
    return bool(np.all(counts > 0) and np.all(counts <= limits))


def read_deep_compression_file(path: str | Path) -> dict[str, Tensor]:
    """The state of `squeezenet1_0` in the file at `path`, float32. ModelFileError when it is cut off or damaged."""
    data = Path(path).read_bytes()
    convolutions = list(_convolutions())
    if not is_deep_compression_file(data):
        raise ModelFileError(f"{path} is not a deep-compressed SqueezeNet 1.0: its table of contents does not fit")
    counts = np.frombuffer(data, "<u4", count=len(convolutions)).tolist()
    expected = 4 * len(counts)
    for count, (_, _, bias) in zip(counts, convolutions, strict=True):
        expected += 4 * CODEBOOK_SIZE + 4 * bias.numel() + count + (count + 1) // 2
    if len(data) != expected:
        raise ModelFileError(f"{path} should have {expected} bytes but has {len(data)}; get a fresh copy")
    state = {}
    start = 4 * len(counts)
    for count, (name, weight, bias) in zip(counts, convolutions, strict=True):
        codebook = np.frombuffer(data, "<f4", count=CODEBOOK_SIZE, offset=start)
        start += codebook.nbytes
        biases = np.frombuffer(data, "<f4", count=bias.numel(), offset=start)
        start += biases.nbytes
        indices = np.frombuffer(data, np.uint8, count=count, offset=start)
        start += indices.nbytes
        packed_gaps = np.frombuffer(data, np.uint8, count=(count + 1) // 2, offset=start)
        start += packed_gaps.nbytes
        values = _scatter(codebook[indices], _unpack_places(packed_gaps, count), weight.numel(), f"{path}: {name}")
        state[f"{name}.weight"] = torch.from_numpy(values.reshape(weight.shape))
        state[f"{name}.bias"] = torch.from_numpy(biases.astype(np.float32))
    return state


def _unpack_places(packed_gaps: np.ndarray, count: int) -> np.ndarray:
    """Bytes of two gaps each -> where in the flattened weights the `count` stored ones stand."""
    gaps = np.stack([packed_gaps & 0x0F, packed_gaps >> 4], axis=1).reshape(-1)[:count]
    return np.cumsum(gaps.astype(np.int64) + 1) - 1


def _scatter(values: np.ndarray, places: np.ndarray, size: int, what: str) -> np.ndarray:
    """`size` zeros with the values at their places; ModelFileError when one lies outside."""
    if places[-1] >= size:
        raise ModelFileError(f"{what} has a weight at place {places[-1]} of {size}; the file is damaged")
    dense = np.zeros(size, np.float32)
    dense[places] = values
    return dense


def _convolutions() -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, weight and bias of SqueezeNet's 26 convolutions in network order, as shapes without memory."""
    with torch.device("meta"):
        network = squeezenet1_0(SqueezeNetConfig())
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            yield name, module.weight, module.bias
