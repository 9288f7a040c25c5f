"""The one compressed file that is a model: pruned and shared weights, entropy coded. Written down in
docs/compressed-file.md.

The file holds exactly the numbers it was given: each tensor is stored plain, as the non-zero values and their places,
or as indices into a codebook and places, whichever takes the fewest bytes. Reading executes nothing, and no size is
believed before it is checked.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from striate.data.cache import write_atomically
from striate.errors import InputError, ModelFileError, StriateError
from striate.weights.coded_tensor import CodedTensor, Symbols, decode_tensor, encode_tensor, parse_coded, plan_symbols
from striate.weights.coding import huffman, range_coder
from striate.weights.coding.frequencies import entropy_bits
from striate.weights.model_file import ModelFile, encode_about, parse_about
from striate.weights.tensor_table import MAX_HEADER_BYTES, one_line, open_weights, strict_json

MAGIC = b"\x89striat"
"""Seven bytes; the eighth is the version."""
VERSION = 1
CODERS: dict[str, ModuleType] = {"range": range_coder, "huffman": huffman}
MAX_TABLES = 8192
_CHECKSUM_BYTES, _FIXED_BYTES = 32, 8 + 32 + 8


@dataclass(frozen=True)
class CodingFigures:
    """What entropy coding made of a model: bytes of the whole file, of its header, of numbers stored as they are, of
    coded symbols, and the entropy of these symbols, which no code of single symbols can go below.
    """

    file_bytes: int
    header_bytes: int
    plain_bytes: int
    coded_bytes: int
    entropy_bytes: float


def write_compressed_file(
    path: str | Path, model_file: ModelFile, state: Mapping[str, Tensor], *, coder: str = "range"
) -> CodingFigures:
    """Write a model to its compressed file in one stroke. `state` is the network's state_dict; every number of it is
    kept exactly.

    `coder` is "range" or "huffman". The bytes depend on the arguments alone. Raises ModelFileError when the state does
    not fit the network, InputError for another coder, OSError when the file cannot be written.
    """
    data, figures = compressed_bytes(model_file, state, coder=coder)
    write_atomically(Path(path), data)
    return figures


def compressed_bytes(
    model_file: ModelFile, state: Mapping[str, Tensor], *, coder: str = "range"
) -> tuple[bytes, CodingFigures]:
    """The bytes that `write_compressed_file` writes."""
    if coder not in CODERS:
        raise InputError(f"coder must be one of {', '.join(CODERS)} but is {coder!r}")
    expected = model_file.build_network(device="meta").state_dict()
    if expected.keys() != state.keys() or any(expected[name].shape != state[name].shape for name in expected):
        raise ModelFileError(f"the weights are not those of {model_file.network}")
    coded = {name: encode_tensor(name, state[name].detach().cpu()) for name in sorted(state)}
    symbols = plan_symbols(list(coded.values()))
    stream = CODERS[coder].encode(symbols.values, symbols.contexts, symbols.tables)
    plain = b"".join(each.plain for each in coded.values())
    header = {
        "model": json.loads(encode_about(model_file)),
        "coder": coder,
        "tensors": {name: each.to_json() for name, each in coded.items()},
        "plain_bytes": len(plain),
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ModelFileError(f"the header would have {len(text)} bytes, over the limit of {MAX_HEADER_BYTES}")
    packed = zlib.compress(text, 9)
    body = b"".join((len(packed).to_bytes(4, "little"), len(text).to_bytes(4, "little"), packed, plain, stream))
    start = MAGIC + bytes([VERSION])
    data = start + hashlib.sha256(start + body).digest() + body
    figures = CodingFigures(len(data), _FIXED_BYTES + len(packed), len(plain), len(stream), _entropy_bits(symbols) / 8)
    return data, figures


def is_compressed_file(path: str | Path) -> bool:
    """Whether a file begins as a compressed model file does, of any version."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def read_compressed_header(path: str | Path) -> ModelFile:
    """What a compressed file says of itself, without its weights; the checksum is verified. ModelFileError."""
    return _read(path)[0]


def read_compressed_file(path: str | Path) -> tuple[ModelFile, dict[str, Tensor]]:
    """A compressed model and its weights by name, on the CPU. ModelFileError for anything that is not whole and a
    model.
    """
    model_file, coded, coder, stream = _read(path)
    try:
        symbols = plan_symbols(coded)
        values = CODERS[coder].decode(stream, symbols.contexts, symbols.tables)
        state, place = {}, 0
        for each in coded:
            state[each.name] = decode_tensor(each, values[place : place + each.num_symbols])
            place += each.num_symbols
    except StriateError as error:
        raise _unreadable(path, error) from error
    return model_file, state


def _read(path: str | Path) -> tuple[ModelFile, list[CodedTensor], str, bytes]:
    """Everything of the file, checked, its symbols still coded."""
    with open_weights(path) as file:
        try:
            data = file.read()
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None
    try:
        header, rest = _split_header(data)
        model_file, coder, infos, plain_bytes = _parse_header(header)
        coded = _check_tensors(model_file, infos, rest[:plain_bytes])
    except StriateError as error:
        raise _unreadable(path, error) from error
    return model_file, coded, coder, rest[plain_bytes:]


def _split_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header's JSON object and what follows it; the checksum is right and no size larger than its limit."""
    if data[: len(MAGIC)] != MAGIC or len(data) < _FIXED_BYTES:
        raise ModelFileError("a compressed model file was expected, or it is cut off")
    if data[7] != VERSION:
        raise ModelFileError(f"its format is version {data[7]} but this one reads version {VERSION}; update striate")
    checksum, body = data[8 : 8 + _CHECKSUM_BYTES], memoryview(data)[8 + _CHECKSUM_BYTES :]
    digest = hashlib.sha256(data[:8])
    digest.update(body)
    if digest.digest() != checksum:
        raise ModelFileError("it is damaged: its checksum does not match; get a fresh copy")
    packed_bytes, text_bytes = int.from_bytes(body[:4], "little"), int.from_bytes(body[4:8], "little")
    if packed_bytes > len(body) - 8 or text_bytes > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"its header would have {packed_bytes} bytes, unpacked {text_bytes}; the limit is {MAX_HEADER_BYTES}"
        )
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(bytes(body[8 : 8 + packed_bytes]), text_bytes + 1)
        if len(text) != text_bytes or not unpacker.eof or unpacker.unused_data:
            raise ModelFileError("its header has another length than it says")
        header = strict_json(text.decode())
    except (zlib.error, ValueError, RecursionError) as error:
        raise ModelFileError(f"its header is not JSON ({one_line(error)})") from None
    if not isinstance(header, dict) or set(header) != {"model", "coder", "tensors", "plain_bytes"}:
        raise ModelFileError("its header does not hold model, coder, tensors and plain_bytes")
    return header, bytes(body[8 + packed_bytes :])


def _parse_header(header: dict[str, Any]) -> tuple[ModelFile, str, dict[str, Any], int]:
    coder, infos, plain_bytes = header["coder"], header["tensors"], header["plain_bytes"]
    if not isinstance(coder, str) or coder not in CODERS:
        raise ModelFileError(f"its coder is {coder!r}, which this version of striate does not have")
    if not isinstance(infos, dict) or type(plain_bytes) is not int or plain_bytes < 0:
        raise ModelFileError("its header has no table of tensors or no number of plain bytes")
    return parse_about(json.dumps(header["model"])), coder, infos, plain_bytes


def _check_tensors(model_file: ModelFile, infos: dict[str, Any], plain: bytes) -> list[CodedTensor]:
    """The table of tensors, checked against the network and the bytes that are there."""
    expected = model_file.build_network(device="meta", most_tensors=len(infos)).state_dict()
    if set(infos) != set(expected):
        raise ModelFileError(f"its tensors are not those of {model_file.network}")
    coded, place = [], 0
    for name in sorted(expected):
        one = parse_coded(name, infos[name], expected[name], plain[place:])
        place += len(one.plain)
        coded.append(one)
    if place != len(plain):
        raise ModelFileError(f"its tensors need {place} plain bytes but there are {len(plain)}")
    if sum(each.num_tables for each in coded) > MAX_TABLES:
        raise ModelFileError(f"it has more than {MAX_TABLES} tables of frequencies")
    return coded


def _unreadable(path: str | Path, error: StriateError) -> ModelFileError:
    return ModelFileError(f"{path} is not a compressed model that this version of striate can read: {error}")


def _entropy_bits(symbols: Symbols) -> float:
    order = torch.from_numpy(symbols.contexts).argsort(stable=True).numpy()
    contexts, values = symbols.contexts[order], symbols.values[order]
    bounds = [0, *(1 + (contexts[1:] != contexts[:-1]).nonzero()[0]).tolist(), len(values)]
    return sum(
        entropy_bits(torch.bincount(torch.from_numpy(values[start:stop])).numpy()) for start, stop in pairwise(bounds)
    )
