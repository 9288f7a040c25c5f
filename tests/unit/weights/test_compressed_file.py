"""The compressed file: what goes in comes out, and nothing else comes in, also where somebody made the checksum
right.
"""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import build_network
from striate.tasks.model import load_model
from striate.weights.compressed_file import (
    compressed_bytes,
    is_compressed_file,
    read_compressed_file,
    write_compressed_file,
)
from striate.weights.model_file import ModelFile

NAMES = tuple(f"class {k}" for k in range(10))
PREPROCESSING = Preprocessing(channels=1, resize_size=28, crop_size=(28, 28), mean=(0.1,), std=(0.3,))
ABOUT = ModelFile("lenet_300_100", {"in_channels": 1, "num_classes": 10}, NAMES, PREPROCESSING, provenance={"seed": 3})


def sparse_state(name: str = "lenet_300_100", density: float = 0.05) -> dict[str, Tensor]:
    """Weights of which a few are left, of few values; fc2's are left as many values as they have."""
    state = {key: value.clone() for key, value in build_network(name, seed=0).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for key, value in state.items():
        if value.ndim > 1:
            value.masked_fill_(torch.rand(value.shape, generator=generator) > density, 0.0)
            if not key.startswith("fc2"):
                step = float(value.abs().max()) / 8
                value.copy_((value / step).round() * step)
    return state


@pytest.fixture(scope="module")
def data() -> bytes:
    return compressed_bytes(ABOUT, sparse_state())[0]


def parts_of(data: bytes) -> tuple[dict, bytes]:
    """The header and what follows it."""
    packed = int.from_bytes(data[40:44], "little")
    return json.loads(zlib.decompress(data[48 : 48 + packed])), data[48 + packed :]


def joined(header: dict | str, rest: bytes, *, text_bytes: int | None = None) -> bytes:
    """A file with this header, its lengths and checksum right."""
    text = (header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))).encode()
    packed = zlib.compress(text, 9)
    sizes = len(packed).to_bytes(4, "little") + (len(text) if text_bytes is None else text_bytes).to_bytes(4, "little")
    return signed(b"\x89striat\x01" + bytes(32) + sizes + packed + rest)


def signed(data: bytes) -> bytes:
    """The same bytes with the right checksum."""
    return data[:8] + hashlib.sha256(data[:8] + data[40:]).digest() + data[40:]


def reading(tmp_path: Path, data: bytes) -> dict[str, Tensor]:
    path = tmp_path / "model.striate"
    path.write_bytes(data)
    return read_compressed_file(path)[1]


@pytest.mark.parametrize("coder", ["range", "huffman"])
def test_every_number_comes_back(tmp_path, coder):
    state = sparse_state()
    path = tmp_path / "model.bin"
    figures = write_compressed_file(path, ABOUT, state, coder=coder)
    about, found = read_compressed_file(path)
    assert about == ABOUT
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert is_compressed_file(path)
    assert figures.file_bytes == path.stat().st_size < 4 * 266_610 / 15
    assert figures.header_bytes + figures.plain_bytes + figures.coded_bytes == figures.file_bytes
    assert figures.entropy_bytes < figures.coded_bytes


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenet_v2", "lenet5_1998"])
def test_networks_with_norms_and_parts_of_their_own_come_back(tmp_path, name):
    network = build_network(name, num_classes=10, in_channels=3, seed=0)
    channels = PREPROCESSING.__class__(channels=3, resize_size=32, crop_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    about = ModelFile(name, {"in_channels": 3, "num_classes": 10}, NAMES, channels)
    write_compressed_file(tmp_path / "m", about, network.state_dict())
    _, found = read_compressed_file(tmp_path / "m")
    for key, value in network.state_dict().items():
        assert torch.equal(found[key], value)
        assert found[key].dtype == value.dtype


def test_extremes_come_back(tmp_path):
    """All zero, one weight, all equal, and numbers that 16 bits do not hold."""
    state = sparse_state()
    state["fc1.weight"].zero_()
    state["fc2.weight"].zero_()[7, 3] = 1e-30
    state["fc3.weight"].fill_(0.1)
    found = reading(tmp_path, compressed_bytes(ABOUT, state)[0])
    assert all(torch.equal(found[name], state[name]) for name in state)
    state["fc1.weight"][0, 0] = float("nan")
    assert torch.isnan(reading(tmp_path, compressed_bytes(ABOUT, state)[0])["fc1.weight"][0, 0])


def test_signs_with_a_scale_a_row_take_a_bit_each(tmp_path):
    state = sparse_state()
    for name in ("fc1.weight", "fc2.weight"):
        signs = torch.randint(0, 2, state[name].shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
        state[name] = signs * torch.linspace(0.1, 0.9, len(signs)).half().float()[:, None]
    state["fc2.weight"][3, :50] = 0
    data, _ = compressed_bytes(ABOUT, state)
    assert len(data) < 1.1 * (300 * 784 + 100 * 300) / 8 + 4_000
    found = reading(tmp_path, data)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_model_like_any_other(tmp_path):
    path = tmp_path / "small.striate"
    write_compressed_file(path, ABOUT, sparse_state())
    model = load_model(path)
    assert model.class_names == NAMES
    assert model.run(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 10)


def test_bytes_depend_on_the_arguments_alone(data):
    assert compressed_bytes(ABOUT, sparse_state())[0] == data


def test_wrong_wishes_are_named(tmp_path):
    with pytest.raises(InputError, match="coder must be one of range, huffman but is 'zip'"):
        compressed_bytes(ABOUT, sparse_state(), coder="zip")
    with pytest.raises(ModelFileError, match="not those of lenet_300_100"):
        compressed_bytes(ABOUT, {"fc1.weight": torch.zeros(3)})
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_compressed_file(tmp_path / "nothing")


def test_a_damaged_byte_is_noticed(tmp_path, data):
    for place in np.random.default_rng(0).integers(0, len(data), 60).tolist():
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises(ModelFileError):
            reading(tmp_path, bytes(changed))
    for length in (0, 7, 8, 40, 48, len(data) // 2, len(data) - 1):
        with pytest.raises(ModelFileError):
            reading(tmp_path, data[:length])


def test_a_later_version_is_named(tmp_path, data):
    with pytest.raises(ModelFileError, match="format is version 9"):
        reading(tmp_path, signed(data[:7] + b"\x09" + data[8:]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.pop("coder"), "does not hold model, coder"),
        (lambda header: header.update(coder="zip"), "coder is 'zip'"),
        (lambda header: header.update(coder=[]), "coder is"),
        (lambda header: header.update(plain_bytes=-1), "no number of plain bytes"),
        (lambda header: header.update(plain_bytes=10**12), "plain bytes"),
        (lambda header: header.update(tensors=[]), "no table of tensors"),
        (lambda header: header["tensors"].pop("fc1.weight"), "tensors are not those"),
        (lambda header: header["tensors"]["fc1.weight"].update(kind="code"), "none of this format"),
        (lambda header: header["tensors"]["fc1.weight"].update(kind=[]), "none of this format"),
        (lambda header: header["tensors"]["fc1.weight"].update(dtype="I64"), "F32, F16, BF16 was expected"),
        (lambda header: header["tensors"]["fc1.weight"].update(dtype={}), "was expected"),
        (lambda header: header["tensors"]["fc1.weight"].update(num_weights=10**15), "not one from 0 to 235200"),
        (lambda header: header["tensors"]["fc1.weight"].update(codebook=10**9), "not one from 0 to 4096"),
        (lambda header: header["tensors"]["fc1.weight"].update(frequencies=[4096]), "shared values but 1 frequencies"),
        (lambda header: header["tensors"]["fc1.weight"].update(frequencies=None), "1 to 4096 whole numbers"),
        (lambda header: header["tensors"]["fc1.weight"].update(gaps=[10**9]), "not one from 0"),
        (lambda header: header["tensors"]["fc1.weight"].update(densities=[0]), "not one from 1 to 65535"),
        (lambda header: header["tensors"]["fc1.weight"].update(densities=[1] * 99), "at most 16"),
        (lambda header: header["tensors"]["fc1.bias"].update(dtype="F32"), "plain bytes"),
        (lambda header: header["model"].update(version=7), "format is version 7"),
        (lambda header: header["model"]["network"].update(name="vgg16"), "model that this version"),
        (lambda header: header.update(model=3), "no version"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, data, change, message):
    header, rest = parts_of(data)
    change(header)
    with pytest.raises(ModelFileError, match=message):
        reading(tmp_path, joined(header, rest))


def test_a_header_that_swells_is_refused(tmp_path, data):
    bomb = zlib.compress(b" " * 200_000_000, 9)
    sizes = len(bomb).to_bytes(4, "little") + (16 << 20).to_bytes(4, "little")
    with pytest.raises(ModelFileError, match="another length than it says"):
        reading(tmp_path, signed(data[:40] + sizes + bomb))
    with pytest.raises(ModelFileError, match="the limit is"):
        reading(tmp_path, signed(data[:44] + (1 << 31).to_bytes(4, "little") + data[48:]))
    with pytest.raises(ModelFileError, match="not JSON"):
        reading(tmp_path, joined('{"a": NaN}', b""))


def test_fuzz_with_right_checksums(tmp_path):
    """Bytes changed behind a checksum that is right: the weights are others, or the error is one of ours."""
    about = ModelFile(
        "lenet5",
        {"in_channels": 1, "num_classes": 10},
        NAMES,
        PREPROCESSING.__class__(channels=1, resize_size=32, crop_size=(32, 32), mean=(0.1,), std=(0.3,)),
    )
    data = compressed_bytes(about, sparse_state("lenet5", 0.2), coder="range")[0]
    header, rest = parts_of(data)
    text = json.dumps(header, separators=(",", ":"))
    rng = np.random.default_rng(0)
    num_refused = 0
    for number in range(300):
        if number % 2:
            changed = bytearray(rest)
            for place in rng.integers(0, len(rest), 3):
                changed[place] = rng.integers(256)
            file = joined(text, bytes(changed))
        else:
            place = int(rng.integers(0, len(text)))
            file = joined(text[:place] + chr(rng.integers(32, 127)) + text[place + 1 :], rest)
        try:
            reading(tmp_path, file)
        except ModelFileError:
            num_refused += 1
    assert num_refused > 200
