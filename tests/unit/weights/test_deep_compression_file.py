"""The deep-compressed SqueezeNet: written here by the format's description, read back, damaged and refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.errors import ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.weights.deep_compression_file import is_deep_compression_file, read_deep_compression_file
from striate.weights.loading import load_weights


def sparse_network(seed: int) -> dict[str, Tensor]:
    """SqueezeNet's state with one weight in forty and only sixteen values, as after pruning and sharing."""
    network = build_network("squeezenet1_0", device="meta")
    generator = np.random.default_rng(seed)
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("weight"):
            weights = generator.integers(1, 16, value.numel()).astype(np.float32) / 8
            weights[generator.random(value.numel()) > 0.025] = 0
            weights[0] = 1.0  # no layer without any
            state[name] = torch.from_numpy(weights.reshape(value.shape))
        else:
            state[name] = torch.from_numpy(generator.standard_normal(value.numel()).astype(np.float32))
    return state


def encode_layer(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codebook, indices and gaps of one layer; distances over 16 are bridged by stored zeros."""
    codebook = np.zeros(256, np.float32)
    codebook[1:16] = np.arange(1, 16) / 8
    places, indices, last = [], [], -1
    for place in np.flatnonzero(weight):
        while place - last > 16:
            last += 16
            places.append(last)
            indices.append(0)
        places.append(int(place))
        indices.append(round(weight[place] * 8))
        last = int(place)
    gaps = np.diff(np.array([-1, *places])) - 1
    return codebook, np.array(indices, np.uint8), gaps.astype(np.uint8)


def encode(state: dict[str, Tensor]) -> bytes:
    counts, layers = [], []
    for name in (key.removesuffix(".weight") for key in state if key.endswith(".weight")):
        codebook, indices, gaps = encode_layer(state[f"{name}.weight"].numpy().reshape(-1))
        padded = np.append(gaps, np.zeros(len(gaps) % 2, np.uint8))
        packed = padded[0::2] | (padded[1::2] << 4)
        counts.append(len(indices))
        layers.append(
            codebook.tobytes() + state[f"{name}.bias"].numpy().tobytes() + indices.tobytes() + packed.tobytes()
        )
    return np.array(counts, "<u4").tobytes() + b"".join(layers)


@pytest.fixture(scope="module")
def sparse() -> tuple[dict[str, Tensor], bytes]:
    state = sparse_network(seed=0)
    return state, encode(state)


def test_what_is_written_is_read(sparse: tuple[dict[str, Tensor], bytes], tmp_path: Path) -> None:
    state, data = sparse
    path = tmp_path / "network.net"
    path.write_bytes(data)
    found = read_deep_compression_file(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    build_network("squeezenet1_0", device="meta").load_state_dict(found, strict=True, assign=True)


def test_it_is_recognised_and_prepared_as_caffe_did(sparse: tuple[dict[str, Tensor], bytes], tmp_path: Path) -> None:
    path = tmp_path / "whatever its name"
    path.write_bytes(sparse[1])
    weights = load_weights(CATALOGUE["squeezenet1_0"], path)
    assert weights.preprocessing is not None
    assert weights.class_names is not None
    assert weights.class_names[:2] == ("tench", "goldfish")
    pixels = torch.tensor([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1)
    assert weights.preprocessing.normalize(pixels).flatten().tolist() == [30 - 104, 20 - 117, 10 - 123]
    with pytest.raises(ModelFileError, match="is a deep-compressed squeezenet1_0, not a resnet18; choose that network"):
        load_weights(CATALOGUE["resnet18"], path)


def test_damaged_files_are_refused(sparse: tuple[dict[str, Tensor], bytes], tmp_path: Path) -> None:
    data = sparse[1]
    path = tmp_path / "network.net"
    path.write_bytes(data[:-1])
    with pytest.raises(
        ModelFileError, match=f"should have {len(data)} bytes but has {len(data) - 1}; get a fresh copy"
    ):
        read_deep_compression_file(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(
        ModelFileError, match=f"should have {len(data)} bytes but has {len(data) + 1}; get a fresh copy"
    ):
        read_deep_compression_file(path)
    num_gap_bytes = (int(np.frombuffer(data, "<u4", count=26)[-1]) + 1) // 2
    path.write_bytes(data[:-num_gap_bytes] + b"\xff" * num_gap_bytes)  # widest gaps lead past the end of the last layer
    with pytest.raises(ModelFileError, match=r"network\.net: classifier\.1 has a weight at place \d+ of 512000"):
        read_deep_compression_file(path)
    path.write_bytes(b"\xff" * 2000)
    with pytest.raises(ModelFileError, match=r"is not a deep-compressed SqueezeNet 1\.0"):
        read_deep_compression_file(path)


def test_other_bytes_are_not_taken_for_it() -> None:
    for data in (b"", b"\0" * 104, b"PK\x03\x04" * 40, bytes(range(200)), b"\xff\xd8\xff\xe0" * 40):
        assert not is_deep_compression_file(data)


def test_the_published_file(shared_data: Path) -> None:
    path = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    state = read_deep_compression_file(path)
    counts = np.frombuffer(path.read_bytes(), "<u4", count=26)
    assert counts.sum() == 422_083  # as the data's README says
    num_nonzero = sum(int(value.count_nonzero()) for name, value in state.items() if name.endswith("weight"))
    assert 400_000 < num_nonzero <= 422_083  # a stored weight may be a bridge of value 0
    assert all(value.isfinite().all() for value in state.values())


def test_convolutions_come_in_network_order() -> None:
    network = build_network("squeezenet1_0", device="meta")
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert len(names) == 26
    assert names[:4] == ["features.0", "features.3.squeeze", "features.3.expand1x1", "features.3.expand3x3"]
    assert names[-1] == "classifier.1"
